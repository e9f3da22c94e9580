import re

import numpy as np
import pytest
from scipy.stats import ks_2samp

from penstock_trainer import report
from penstock_trainer.features import Scaled
from penstock_trainer.findings import findings, separation
from penstock_trainer.labelled import Comoment, GroupMeans
from penstock_trainer.problem import Integer, Label
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

from ._toy import problem

RANDOM = np.random.default_rng(0)


def numbers(values):
    return NumberStatistics.of(np.asarray(values, np.float32))


def categories(missing=0, **counts):
    return CategoryStatistics.of(counts.keys(), counts.values(), missing)


def card(page, name):
    """A column's part of the page."""
    return page.partition(f"{name}</h2>")[2].partition("</section>")[0]


def found(**training):
    return {"training": training}


@pytest.mark.parametrize(
    ("statistics", "column", "said"),
    [
        (found(size=numbers([7.0] * 9)), "size", "one value"),
        (found(kind=categories(oak=5)), "kind", "one value"),
        (found(size=numbers([1.0, 2.0] + [np.nan] * 5)), "size", "missing in 71%"),
        (
            {"training": {"kind": categories(oak=5, elm=4)}, "test": {"kind": categories(oak=5, ash=5)}},
            "kind",
            "no training row has in 50.0% of the test rows",
        ),
        (
            {"training": {"size": numbers([1.0, 2.0])}, "validation": {"size": numbers([1.0, np.nan])}},
            "size",
            "missing in 50% of the validation rows, in 0% of the training rows",
        ),
        (
            {
                "training": {"size": numbers(np.arange(100))},
                "positive": {"size": numbers(np.arange(50))},
            },
            "size",
            "tells the label almost by itself",
        ),
        (
            {
                "training": {"size": numbers(np.arange(100)), "same": numbers(np.arange(100))},
                "with_label": {
                    "size": Comoment.of(np.arange(100, dtype=np.float32), -np.arange(100, dtype=np.float32)),
                    "same": Comoment.of(np.arange(100, dtype=np.float32), RANDOM.normal(size=100)),
                },
            },
            "size",
            "their correlation is -1.000",
        ),
        (
            {
                "training": {"size": numbers(RANDOM.normal(size=300)), "kind": categories(oak=100, elm=100, fir=100)},
                "with_label": {
                    "kind": GroupMeans.of(["oak", "elm", "fir"], np.arange(300) % 3, np.arange(300.0) % 3),
                    "size": GroupMeans.of([str(n) for n in range(299)], np.arange(300) % 299, RANDOM.normal(size=300)),
                },
            },
            "kind",
            "their correlation is 1.000",
        ),
    ],
)
def test_what_looks_wrong_is_said_of_the_column(statistics, column, said):
    assert [name for name, what in findings(problem(), statistics) if said in what] == [column]


def counted(values):
    return NumberStatistics.of(np.asarray(values, np.float32), count_distinct=True)


def test_a_scaled_column_of_few_values_may_be_a_category_and_an_integer_of_all_values_an_id():
    ids = np.arange(2000)
    columns = {**problem().columns, "id": Integer(), "kind": Integer()}
    declared = problem(Scaled("size"), Scaled("kind"), columns=columns)
    few = found(size=counted(ids % 5), kind=counted(ids % 2), id=counted(ids))
    said = dict(findings(declared, few))
    assert said.keys() == {"size", "id"}  # a column of two values is scaled as a flag
    assert "is scaled and has 5 different values only" in said["size"]
    assert "another whole number in almost every training row" in said["id"]
    assert dict(findings(declared, found(id=counted(ids % 1500), size=counted(ids)))) == {}
    page = report.page(declared, few, {"rows": 2000, "training": 2000})
    assert ", 5 different values</p>" in card(page, "size")
    assert re.search(r", about [12],\d{3} different values</p>", card(page, "id"))


CLASSES = problem(
    label=Label("worth", of=lambda columns: columns["cost"], head="multiclass", classes=("low", "middle", "high"))
)


def test_a_column_that_tells_one_class_from_the_others_is_named_with_it():
    values = RANDOM.normal(size=900)
    thirds = [values[values < -0.5], values[abs(values) <= 0.5], values[values > 0.5]]
    statistics = {
        "training": {"size": numbers(values), "same": numbers(values), "kind": categories(oak=300, elm=600)},
        **{
            f"class {place}": {
                "size": numbers(third),
                "same": numbers(values[place::3]),
                "kind": categories(oak=300 * (place == 0), elm=300 * (place != 0)),
            }
            for place, third in enumerate(thirds)
        },
    }
    said = dict(findings(CLASSES, statistics))
    assert said.keys() == {"size", "kind"}
    assert (
        "tells class 'low' almost by itself: its distributions for it and for the others are 1.00 apart" in said["kind"]
    )
    page = report.page(CLASSES, statistics, {"rows": 900, "training": 900})
    assert page.count("mean in the class") == 2
    assert "<td>middle</td>" in page


def test_a_class_of_more_categories_than_are_kept_is_not_judged_by_them():
    half = categories(**{f"id{n}": 1 for n in range(1500)})
    half.bound(1000)
    whole = categories(**{f"id{n}": 1 for n in range(3000)})
    assert list(findings(CLASSES, {**found(kind=whole), "class 0": {"kind": half}})) == []


def test_the_page_has_the_mean_of_a_regressions_label_by_category():
    means = GroupMeans.of(["oak", "elm"], np.array([0, 0, 1, -1]), np.array([2.0, 4.0, 7.25, 9.0]))
    statistics = {"training": {"kind": categories(oak=2, elm=1, missing=1)}, "with_label": {"kind": means}}
    page = report.page(problem(), statistics, {"rows": 4, "training": 4})
    assert "<td>oak</td><td class=number>3</td>" in page
    assert "<td>elm</td><td class=number>7.25</td>" in page


def test_the_page_has_a_binary_labels_share_and_what_each_column_has_to_do_with_it():
    statistics = {
        "training": {
            "dear": numbers([0, 0, 0, 1]),
            "size": numbers([1, 2, 6, 10]),
            "kind": categories(oak=3, elm=1),
        },
        "positive": {"dear": numbers([1]), "size": numbers([10]), "kind": categories(oak=1)},
    }
    page = report.page(problem(), statistics, {"rows": 4, "training": 4})
    rows = "<table><tr><td>{}</td><td class=number>{}</td></tr><tr><td>{}</td><td class=number>{}</td></tr></table>"
    for name, title, lines in (
        ("dear", "share of the rows", ("0", "75.0%", "1", "25.0%")),
        ("size", "mean where the label is", ("0", "3", "1", "10")),
        ("kind", "share of label 1", ("oak", "33.3%", "elm", "0.0%")),
    ):
        assert card(page, name).endswith(f"<p class=soft>{title}</p>{rows.format(*lines)}")


def test_a_card_says_what_share_is_missing_and_what_shares_the_top_categories_have():
    statistics = found(kind=categories(oak=3, elm=1, missing=4), size=numbers([1, 2, 3, np.nan]), same=numbers([7]))
    page = report.page(problem(), statistics, {"rows": 8, "training": 8})
    assert "<p class=soft>50.0% missing</p><p>2 categories</p>" in card(page, "kind")
    oak, elm = "<td>oak</td><td class=number>75.0%</td>", "<td>elm</td><td class=number>25.0%</td>"
    assert f"<tr>{oak}</tr><tr>{elm}</tr>" in card(page, "kind")
    assert ">25.0% missing<" in card(page, "size")
    assert ">none missing<" in card(page, "same")


def test_the_bars_of_a_histogram_are_as_high_as_the_counts_of_equally_wide_buckets():
    values = np.array([0, 32, *np.random.default_rng(1).exponential(6, 900) % 32], np.float32)
    counts, _ = np.histogram(values, report.BARS)
    page = report.page(problem(), found(size=numbers(values)), {"rows": 902, "training": 902})
    bars = np.array(re.findall(r'y="([\d.]+)" width="9" height="([\d.]+)"', card(page, "size")), float)
    assert bars[:, 1] == pytest.approx(80 * counts / counts.max(), abs=0.06)
    assert bars.sum(axis=1) == pytest.approx(84)  # they stand on one line


def test_nothing_is_said_of_columns_that_are_alright():
    values = RANDOM.normal(size=5000)
    statistics = {
        "training": {"size": numbers(values), "kind": categories(oak=50, elm=50)},
        "positive": {"size": numbers(values[::4]), "kind": categories(oak=20, elm=21)},
        "test": {"size": numbers(RANDOM.normal(size=900)), "kind": categories(oak=9, elm=11)},
    }
    assert list(findings(problem(), statistics)) == []


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_the_separation_of_numbers_is_the_kolmogorov_smirnov_distance(shift):
    negative, positive = RANDOM.normal(size=8000), RANDOM.normal(shift, size=2000)
    distance = separation(numbers(positive), numbers(np.concatenate([negative, positive])))
    assert distance == pytest.approx(ks_2samp(negative, positive)[0], abs=0.03)


def test_the_separation_of_categories_is_half_the_sum_of_the_differences_of_their_shares():
    assert separation(categories(oak=10), categories(oak=10, elm=30)) == 1
    assert separation(categories(oak=5, elm=15), categories(oak=10, elm=30)) == 0


def test_the_page_escapes_what_the_data_says_and_loads_nothing():
    hostile = "<script>alert(1)</script>"
    statistics = {"training": {"kind": categories(**{hostile: 3, "elm": 2}), "size": numbers([1, 2, 3])}}
    page = report.page(problem(), statistics, {"rows": 5, "training": 5})
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http" not in page
    assert page.count("<rect") == report.BARS

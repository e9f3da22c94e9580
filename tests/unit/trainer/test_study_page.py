import re
from html.parser import HTMLParser

import pytest

from penstock_trainer import study_page
from penstock_trainer.study_storage import Journal

from ._cheap_study import CheapStudy


class Page(HTMLParser):
    """The page's text and the tags it holds, each closed but for those that have no end."""

    def __init__(self, content):
        super().__init__()
        self.texts, self.tags, self.attributes = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    study = CheapStudy(Journal(tmp_path_factory.mktemp("study")), 60)
    study.work()
    return study.results()


def test_the_page_shows_every_trial_and_the_best_one_s_hyperparameters(results):
    page = Page(study_page.page("cheap", results))
    assert f"{results['best']['value']:.4f} (trial {results['best']['number']})" in page.texts
    for name, value in results["best"]["hyperparameters"].items():
        assert page.texts.count(name) >= 3  # chosen, its importance, its plot
        assert (f"{value:,.4g}" if isinstance(value, float) else str(value)) in page.texts
    complete = sum(trial["state"] == "COMPLETE" for trial in results["trials"])
    hovers = [text for text in page.texts if re.match(r"trial \d+: 0\.", text)]
    assert len(hovers) == complete * (1 + len(results["best"]["hyperparameters"]))
    assert page.tags.count("svg") == 2 + len(results["best"]["hyperparameters"])


def test_what_mattered_is_what_the_value_depends_on(results):
    assert max(results["importance"], key=results["importance"].get) == "learning_rate"


def test_the_page_is_self_contained_and_has_a_dark_side(results):
    content = study_page.page("cheap", results)
    page = Page(content)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert "url(" not in content
    assert "prefers-color-scheme: dark" in content


def test_a_name_that_is_markup_is_shown_as_text(results):
    markup = "<b onmouseover=alert(1)>"
    trials = [
        {**trial, "hyperparameters": {markup: markup}, "ended_by": markup, "holder": markup}
        for trial in results["trials"]
    ]
    best = {**results["best"], "hyperparameters": {markup: markup}}
    page = Page(study_page.page(markup, {**results, "trials": trials, "best": best, "importance": {markup: 1.0}}))
    assert "b" not in page.tags


def test_a_study_of_one_trial_has_a_page(tmp_path):
    study = CheapStudy(Journal(tmp_path), 1, epochs=1)
    study.work()
    assert "Too few finished trials to tell." in study_page.page("cheap", study.results())

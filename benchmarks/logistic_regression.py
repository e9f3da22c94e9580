"""A logistic regression on the columns of a sealed model, trained and tested on the same rows, beside the model's own
test AUC.

Run in the trainer's environment, after `make up`:

    python benchmarks/logistic_regression.py --model .penstock/local/artifacts/models/<key> --dataset
    .penstock/local/artifacts/dataset/<key>

scikit-learn, twice: on the raw columns the endpoint takes (numbers standardised with missing as the mean, categories
one-hot), and on the same with the derived columns besides.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock_trainer.artifacts import Manifest
from penstock_trainer.examples import Examples, read_block


def rows(dataset: Path, examples: Examples, split: str, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [rows, columns], labels [rows]); a category is its code."""
    found, labels = [], []
    for block in examples.blocks[split]:
        numbers, codes, label = read_block(dataset / block.path, examples)
        named = dict(zip(examples.numbers, numbers, strict=True)) | dict(zip(examples.categories, codes, strict=True))
        found.append(np.stack([named[name] for name in columns], axis=1).astype(np.float64))
        labels.append(label)
    return np.concatenate(found), np.concatenate(labels)


def baseline_auc(dataset: Path, examples: Examples, columns: list[str]) -> float:
    """Test AUC of the regression on `columns`."""
    categories = [place for place, name in enumerate(columns) if name in examples.categories]
    numbers = [place for place, name in enumerate(columns) if name not in examples.categories]
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", min_frequency=20), categories),
        ),
        LogisticRegression(max_iter=500),
    )
    model.fit(*rows(dataset, examples, "training", columns))
    values, labels = rows(dataset, examples, "test", columns)
    return float(roc_auc_score(labels, model.predict_proba(values)[:, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    arguments = parser.parse_args()
    schema = json.loads((arguments.model / "schema.json").read_text())
    auc = Manifest.read(arguments.model).metrics["test"]["auc"]
    examples = Examples.read(arguments.dataset)
    raw = [column["name"] for column in schema["columns"]]
    derived = [name for name in examples.numbers if name in schema["derived"]]
    for peer, columns in (("raw columns", raw), ("raw and derived columns", raw + derived)):
        peer_auc = baseline_auc(arguments.dataset, examples, columns)
        line = {"benchmark": "quality", "metric": "test_auc", "value": round(auc, 4), "unit": "AUC", "goal": 1.0}
        line |= {"peer": f"scikit-learn logistic regression, {peer}", "peer_value": round(peer_auc, 4)}
        print(json.dumps(line | {"ratio": round(auc / peer_auc, 4), "met": auc > peer_auc, "repeats": 1}))


if __name__ == "__main__":
    main()

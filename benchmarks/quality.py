"""The tuned model's test AUC beside a logistic regression's on the same columns and rows.

After `make up`: `make bench-quality`, for the newest model of the local stack; or name another's folder of artifacts.

scikit-learn, twice: on the raw columns the endpoint takes (numbers standardised with missing as the mean, categories
one-hot), and on the same with the derived columns besides.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from _report import report
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock_trainer.artifacts import Manifest, verify_lineage
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


def newest_model(artifacts: Path) -> Path:
    """The folder of the model sealed last."""
    manifests = artifacts.glob("models/[0-9a-f]*/manifest.json")
    return max(manifests, key=lambda path: path.stat().st_mtime).parent


def main() -> None:
    """Print a line for each peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", type=Path, nargs="?", default=Path(".penstock/local/artifacts"))
    artifacts = parser.parse_args().artifacts
    model = newest_model(artifacts)
    chain = verify_lineage(model)
    datasets = artifacts.glob("dataset/[0-9a-f]*")
    dataset = next(path for path in datasets if Manifest.read(path).digest == chain["dataset"].digest)
    schema = json.loads((model / "schema.json").read_text())
    auc = chain["model"].metrics["test"]["auc"]
    examples = Examples.read(dataset)
    raw = [column["name"] for column in schema["columns"]]
    derived = [name for name in examples.numbers if name in schema["derived"]]
    for peer, columns in (("raw columns", raw), ("raw and derived columns", raw + derived)):
        peer_auc = baseline_auc(dataset, examples, columns)
        name = f"scikit-learn LogisticRegression, {peer}"
        met = auc > peer_auc
        report("quality", "test_auc", auc, "AUC", peer=name, peer_value=peer_auc, ratio=auc / peer_auc, goal=1, met=met)


if __name__ == "__main__":
    main()

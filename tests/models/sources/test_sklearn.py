import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.data.arrays import ArrayReader
from ogacli.data.ids import numbered
from ogacli.data.samples import Samples
from ogacli.errors import CheckpointError, DataError
from ogacli.gradients import GradientOptions, capture
from ogacli.models.sources.sklearn import Sklearn, save_estimator
from ogacli.models.tasks.classification import Classification

X, Y = load_iris(return_X_y=True)
X32 = X.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def samples_of(
    x: Any, labels: torch.Tensor, classes: tuple[str, ...], columns: tuple[str, ...] = ()
) -> Samples:
    return Samples(
        ids=numbered(len(x)),
        positions=torch.arange(len(x)),
        labels=labels,
        classes=classes,
        reader=ArrayReader(np.asarray(x, dtype=np.float32), columns=columns),
        signature="test",
    )


IRIS = samples_of(X, torch.from_numpy(Y), ("0", "1", "2"))


def logits(path: Path, samples: Samples, **options: Any) -> torch.Tensor:
    network = Sklearn(checkpoint=str(path), **options).load(samples)
    return network.outputs(samples.read(range(len(samples)))).logits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


CLASSIFIERS = [
    LogisticRegression(max_iter=500),
    LogisticRegression(max_iter=500, fit_intercept=False),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(with_std=False), "passthrough", LogisticRegression(max_iter=500)),
    make_pipeline(MinMaxScaler((-2, 3)), LogisticRegression()),
    make_pipeline(RobustScaler(), MinMaxScaler((-2, 3)), StandardScaler(), LogisticRegression()),
    make_pipeline(RobustScaler(), MLPClassifier((5, 4), activation="tanh", max_iter=20, random_state=0)),
    MLPClassifier((5,), activation="logistic", max_iter=20, random_state=0),
    MLPClassifier((6, 3), max_iter=20, random_state=0),
]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda one: str(one).replace("\n", ""))
def test_probabilities_are_the_estimator_s(estimator: Any, k: int, path: Path) -> None:
    rows = Y < k
    estimator.fit(X32[rows], Y[rows])
    save_estimator(estimator, path)
    samples = samples_of(X[rows], torch.from_numpy(Y[rows]), tuple(map(str, range(k))))
    found = torch.softmax(logits(path, samples), 1)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(X32[rows]), atol=2e-5)


@pytest.mark.parametrize(
    "estimator",
    [LinearSVC(), RidgeClassifier(), SGDClassifier(random_state=0), LinearDiscriminantAnalysis()],
    ids=str,
)
def test_decision_values_are_logits_where_there_are_no_probabilities(estimator: Any, path: Path) -> None:
    save_estimator(estimator.fit(X32, Y), path)
    np.testing.assert_allclose(logits(path, IRIS).numpy(), estimator.decision_function(X32), atol=1e-3)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_regressions(targets: int, path: Path) -> None:
    goal = X[:, :targets] * 2 + X[:, 2:3]
    samples = samples_of(X, torch.from_numpy(goal).float(), ())
    for estimator in (
        make_pipeline(StandardScaler(), LinearRegression()),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0),
    ):
        estimator.fit(X32, goal if targets > 1 else goal[:, 0])
        save_estimator(estimator, path)
        expected = estimator.predict(X32).reshape(-1, targets)
        np.testing.assert_allclose(logits(path, samples).numpy(), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_several_classes_a_sample(path: Path) -> None:
    goal = np.stack([Y == 0, X[:, 0] > 6], 1).astype(int)
    estimator = MLPClassifier((4,), max_iter=20, random_state=0).fit(X32, goal)
    save_estimator(estimator, path)
    samples = samples_of(X, torch.from_numpy(goal).float(), ("setosa", "long"))
    found = torch.sigmoid(logits(path, samples))
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(X32), atol=2e-5)


def test_the_best_of_a_search(path: Path) -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 10]}
    )
    save_estimator(search.fit(X32, Y), path)
    np.testing.assert_allclose(
        torch.softmax(logits(path, IRIS), 1).numpy(), search.predict_proba(X32), atol=2e-5
    )


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_gradients_of_all_layers(path: Path) -> None:
    """The engine compares them with a backward pass a sample on its first batch."""
    estimator = make_pipeline(StandardScaler(), MLPClassifier((5, 4), max_iter=5, random_state=0)).fit(X32, Y)
    save_estimator(estimator, path)
    network = Sklearn(checkpoint=str(path)).load(IRIS)
    gradients = capture(network, Classification(), GradientOptions(layers="all"))
    found = gradients(IRIS.read(range(150)))
    assert found.p == 4 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3
    network.module.requires_grad_(True)
    total = torch.nn.functional.cross_entropy(
        network.module(torch.from_numpy(X32)), IRIS.labels, reduction="sum"
    )
    expected = torch.autograd.grad(total, list(network.module.parameters()))
    together = torch.cat([part.flatten() for part in expected])
    torch.testing.assert_close(found.dense().sum(0), together, rtol=1e-4, atol=1e-4)


def test_the_head_reads_what_the_scaler_returns(path: Path) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    save_estimator(estimator, path)
    network = Sklearn(checkpoint=str(path)).load(IRIS)
    outputs = network.outputs(IRIS.read(range(150)))
    assert outputs.features is not None
    np.testing.assert_allclose(outputs.features.numpy(), estimator[0].transform(X), atol=1e-5)
    assert (network.head_name, outputs.bias) == ("network.head", True)


@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None)
def test_any_scale_of_the_inputs(
    scale: float, offset: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    x = (X * scale + offset).astype(np.float32)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, Y)
    path = tmp_path_factory.mktemp("s") / "m.safetensors"
    save_estimator(estimator, path)
    found = torch.softmax(logits(path, samples_of(x, torch.from_numpy(Y), ("0", "1", "2"))), 1)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(x), atol=2e-3)


def test_outputs_come_in_the_order_of_the_data_s_classes(path: Path) -> None:
    estimator = LogisticRegression(max_iter=500).fit(X32, NAMES[Y])
    save_estimator(estimator, path)
    swapped = ("virginica", "setosa")
    some = Y != 1
    labels = torch.from_numpy(np.where(Y[some] == 2, 0, 1))
    found = torch.softmax(logits(path, samples_of(X[some], labels, swapped)), 1)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(X32[some])[:, [2, 0, 1]], atol=2e-5)
    save_estimator(LogisticRegression(max_iter=500).fit(X32, Y), path)
    named = samples_of(X, torch.from_numpy(Y), tuple(NAMES))
    torch.testing.assert_close(logits(path, named), logits(path, IRIS))


def test_the_gradient_is_that_of_the_logistic_loss(path: Path) -> None:
    """Of two logits whose first is always 0, the second's gradient is that of scikit-learn's one."""
    x, y = load_breast_cancer(return_X_y=True)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    save_estimator(estimator, path)
    samples = samples_of(x, torch.from_numpy(y), ("0", "1"))
    residual = Classification().residual(logits(path, samples), samples.labels)
    expected = estimator.predict_proba(x.astype(np.float32))[:, 1] - y
    np.testing.assert_allclose(residual[:, 1].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(residual[:, 0].numpy(), -expected, atol=1e-5)


# --- what cannot be loaded ----------------------------------------------------------------------------


class Harmful:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm-was-done"),))


def test_a_pickle_is_not_loaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    harmful = tmp_path / "model.pkl"
    harmful.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match=r"model.pkl: not a file of coefficients") as caught:
        logits(harmful, IRIS)
    assert "save_estimator" in str(caught.value)
    assert "trust: true" in str(caught.value)
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("library", ["pickle", "joblib"])
def test_a_trusted_pickle(library: str, tmp_path: Path) -> None:
    import joblib

    estimator = LogisticRegression(max_iter=500).fit(X32, Y)
    path = tmp_path / "model.bin"
    if library == "pickle":
        path.write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, path, compress=3)
    found = torch.softmax(logits(path, IRIS, trust=True), 1)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(X32), atol=2e-5)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be unpickled"):
        logits(path, IRIS, trust=True)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression(), r"LogisticRegression: not a model whose gradients.*\n.*a fitted linear model"),
        (
            RandomForestClassifier(2).fit(X, Y),
            "RandomForestClassifier: not a model whose gradients are known",
        ),
        (SVC(kernel="linear").fit(X, Y), "SVC: not a model whose gradients are known"),
        (
            PoissonRegressor().fit(X, Y),
            "PoissonRegressor: not a model.*\n.*outputs that follow from its layers alone",
        ),
        (
            PLSRegression().fit(X, X[:, :1] ** 2),
            "PLSRegression: not a model.*\n.*outputs that follow from its layers alone",
        ),
        (make_pipeline(PolynomialFeatures(), LogisticRegression()), "step of the pipeline is not known"),
        (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), r"without `clip`"),
        (make_pipeline(PCA(2), LogisticRegression()), "PCA: this step of the pipeline is not known"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_models_that_are_none_of_these(estimator: Any, message: str, path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_estimator(estimator, path)
    assert not path.exists()


def test_other_classes(path: Path) -> None:
    save_estimator(LogisticRegression(max_iter=500).fit(X32, NAMES[Y]), path)
    with pytest.raises(
        CheckpointError, match=r"classes in the data that the model has not seen\n  found: rose"
    ):
        logits(path, samples_of(X, torch.from_numpy(Y), ("rose", "setosa", "virginica")))
    with pytest.raises(DataError, match="the model is a classifier, but the samples have no classes"):
        logits(path, samples_of(X, torch.from_numpy(X[:, :1]).float(), ()))
    save_estimator(LogisticRegression(max_iter=500).fit(X32, Y), path)
    with pytest.raises(CheckpointError, match="has not seen"):
        logits(path, samples_of(X, torch.from_numpy(Y), ("a", "b", "c", "d")))


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        MLPClassifier((6, 5), max_iter=50, random_state=0),
    ],
    ids=["scaled", "mlp"],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_features_in_another_order(path: Path, estimator: Any) -> None:
    import pandas

    estimator.fit(pandas.DataFrame(X32, columns=list("abcd")), Y)
    save_estimator(estimator, path)
    labels, classes, order = torch.from_numpy(Y), ("0", "1", "2"), [2, 0, 3, 1]
    expected = logits(path, samples_of(X, labels, classes, columns=tuple("abcd")))
    found = logits(path, samples_of(X[:, order], labels, classes, columns=tuple("cadb")))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.softmax(found, 1),
        torch.from_numpy(estimator.predict_proba(pandas.DataFrame(X32, columns=list("abcd")))).float(),
        atol=1e-4,
        rtol=1e-3,
    )


def test_other_features(path: Path) -> None:
    import pandas

    names = ["a", "b", "c", "d"]
    save_estimator(LogisticRegression(max_iter=500).fit(pandas.DataFrame(X, columns=names), Y), path)
    labels, classes = torch.from_numpy(Y), ("0", "1", "2")
    assert logits(path, samples_of(X, labels, classes, columns=tuple(names))).shape == (150, 3)
    with pytest.raises(CheckpointError, match="fitted on 4 features, not on these 3"):
        logits(path, samples_of(X[:, :3], labels, classes, columns=("a", "b", "c")))
    save_estimator(LogisticRegression(max_iter=500).fit(X, Y), path)
    with pytest.raises(CheckpointError, match="4 features without names"):
        logits(path, samples_of(X[:, :3], labels, classes, columns=("a", "b", "c")))


def test_numbers_and_categories_behind_a_column_transformer(path: Path, tmp_path: Path) -> None:
    import pandas

    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "age": rng.normal(40, 10, 60),
            "city": rng.choice(["oslo", "bern", "rome"], 60),
            "height": rng.normal(170, 8, 60),
            "floor": rng.choice([10, 9, 2], 60),
        }
    )
    frame["y"] = np.where(frame["age"] + 20 * (frame["city"] == "rome") > 45, "old", "young")
    frame.to_csv(tmp_path / "people.csv", index=False)
    steps = make_column_transformer(
        (StandardScaler(), ["age", "height"]), (OneHotEncoder(), ["city", "floor"]), remainder="drop"
    )
    estimator = make_pipeline(steps, LogisticRegression()).fit(frame.drop(columns="y"), frame["y"])
    save_estimator(estimator, path)
    keys = "source: table, label: y, path: people.csv"
    samples = parse_config(
        f"data: {{{keys}, features: [age, height], categorical: [city, floor]}}\nmodel: logistic",
        base=tmp_path,
    ).data.open()
    found = torch.softmax(logits(path, samples), 1)
    assert samples.classes == ("old", "young")
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(frame.drop(columns="y")), atol=1e-5)
    other = parse_config(
        f"data: {{{keys}, features: [height, age], categorical: [floor, city]}}\nmodel: logistic",
        base=tmp_path,
    ).data.open()
    torch.testing.assert_close(torch.softmax(logits(path, other), 1), found)
    categories = "{city: [bern, oslo], floor: ['2', '9', '10']}"
    fewer = parse_config(
        f"data: {{{keys}, features: [age, height], categorical: {categories}}}\nmodel: logistic",
        base=tmp_path,
    ).data.open()
    with pytest.raises(CheckpointError, match=r"expected: city=rome\n") as no:
        logits(path, fewer)
    assert "give all categories as in training: `categorical: {city: [category, ..]}`" in str(no.value)
    without = parse_config(f"data: {{{keys}}}\nmodel: logistic", base=tmp_path).data.open()
    with pytest.raises(
        CheckpointError, match=r"on 8 features, not on these 3\n  found: floor\n  expected: city=bern"
    ) as no:
        logits(path, without)
    assert "name city, floor under `data.categorical`" in str(no.value)


def people(folder: Path, n: int = 80) -> Any:
    """A table with gaps among its numbers, and categories of which some are rare."""
    import pandas

    rng = np.random.default_rng(1)
    frame = pandas.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "city": rng.choice(["oslo", "bern", "rome", "graz"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "height": rng.normal(170, 8, n),
            "floor": rng.choice([10, 9, 2], n),
            "married": rng.choice(["no", "yes"], n),
        }
    )
    frame["y"] = np.where(frame["age"] + 20 * (frame["city"] == "rome") > 45, "old", "young")
    frame.loc[::7, "age"] = np.nan
    frame.loc[::5, "height"] = np.nan
    frame.to_csv(folder / "people.csv", index=False)
    return frame


NUMBERS, CATEGORIES = ["age", "height"], ["city", "floor", "married"]
ENCODERS = {
    "all": OneHotEncoder(),
    "first": OneHotEncoder(drop="first"),
    "binary": OneHotEncoder(drop="if_binary", sparse_output=False),
    "named": OneHotEncoder(drop=["bern", 9, "no"]),
    "rare": OneHotEncoder(min_frequency=10),
    "few": OneHotEncoder(max_categories=2, drop="first"),
    "unknown": OneHotEncoder(handle_unknown="ignore"),
}
NUMERIC = {
    "mean": make_pipeline(SimpleImputer(), StandardScaler()),
    "median": SimpleImputer(strategy="median"),
    "zero": SimpleImputer(strategy="constant", fill_value=0),
    "scaled first": make_pipeline(MinMaxScaler(), SimpleImputer(strategy="most_frequent"), RobustScaler()),
}


@pytest.mark.parametrize("model", [LogisticRegression(), MLPClassifier((4,), random_state=0, max_iter=50)])
@pytest.mark.parametrize(
    ("numeric", "encoder", "after"),
    [
        *((name, "all", None) for name in NUMERIC),
        *(("mean", name, None) for name in ENCODERS),
        ("median", "first", StandardScaler()),
        ("scaled first", "rare", make_pipeline(RobustScaler(), "passthrough", StandardScaler())),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_imputers_and_encoders_behind_a_column_transformer(
    path: Path, tmp_path: Path, model: Any, numeric: str, encoder: str, after: Any
) -> None:
    frame = people(tmp_path)
    steps = make_column_transformer(
        (clone(NUMERIC[numeric]), NUMBERS), (clone(ENCODERS[encoder]), CATEGORIES)
    )
    estimator = make_pipeline(steps, *([] if after is None else [clone(after)]), clone(model))
    estimator.fit(frame.drop(columns="y"), frame["y"])
    save_estimator(estimator, path)
    for order in ((NUMBERS, CATEGORIES), (NUMBERS[::-1], CATEGORIES[::-1])):
        source = Sklearn(checkpoint=str(path))
        samples = source.prepare(table(tmp_path, *order))
        batch = samples.read(range(len(frame)))
        assert not batch.quarantined
        found = torch.softmax(source.load(samples).outputs(batch).logits, 1)
        np.testing.assert_allclose(found.numpy(), estimator.predict_proba(frame.drop(columns="y")), atol=1e-5)


def table(folder: Path, numbers: list[str], categories: list[str]) -> Samples:
    keys = f"path: people.csv, label: y, features: {numbers}, categorical: {categories}"
    return parse_config(f"data: {{source: table, {keys}}}\nmodel: logistic", base=folder).data.open()


def test_a_missing_category_is_filled_as_well(path: Path, tmp_path: Path) -> None:
    frame = people(tmp_path)
    frame["city"] = frame["city"].astype(object)
    frame.loc[3::9, "city"] = np.nan
    frame.to_csv(tmp_path / "people.csv", index=False)
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="first"))
    steps = make_column_transformer((SimpleImputer(), NUMBERS), (filled, ["city"]))
    estimator = make_pipeline(steps, LogisticRegression()).fit(frame.drop(columns="y"), frame["y"])
    save_estimator(estimator, path)
    source = Sklearn(checkpoint=str(path))
    samples = source.prepare(table(tmp_path, NUMBERS, ["city"]))
    batch = samples.read(range(len(frame)))
    found = torch.softmax(source.load(samples).outputs(batch).logits, 1)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(frame.drop(columns="y")), atol=1e-5)


def test_an_imputer_of_arrays(path: Path, tmp_path: Path) -> None:
    x = X.copy()
    x[::4, 1] = x[1::9, 3] = np.nan
    estimator = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()).fit(
        x, Y
    )
    save_estimator(estimator, path)
    np.savez(tmp_path / "d.npz", x=x.astype(np.float32), y=Y)
    config = parse_config(
        f"data: {{source: arrays, path: {tmp_path}/d.npz, x: x, y: y}}\n"
        f"model: {{source: sklearn, checkpoint: {path}}}\n"
    )
    run = scan(config, output=tmp_path / "run")
    assert run.summary.quarantined == 0
    given = run.scores["probability"].to_numpy()
    expected = estimator.predict_proba(x)[np.arange(len(Y)), Y]
    np.testing.assert_allclose(given, expected, atol=2e-5)


def test_only_what_the_imputer_fills_may_be_missing(path: Path, tmp_path: Path) -> None:
    frame = people(tmp_path)
    steps = make_column_transformer((SimpleImputer(), ["age"]), ("passthrough", ["floor"]), remainder="drop")
    estimator = make_pipeline(steps, LogisticRegression()).fit(frame.drop(columns="y"), frame["y"])
    save_estimator(estimator, path)
    frame["floor"] = frame["floor"].astype(float)
    frame.loc[2, "floor"] = np.nan
    frame.loc[3, "age"] = np.inf
    frame.to_csv(tmp_path / "people.csv", index=False)
    text = "data: {source: table, label: y, path: people.csv, features: [age, floor]}\nmodel: logistic"
    samples = Sklearn(checkpoint=str(path)).prepare(parse_config(text, base=tmp_path).data.open())
    batch = samples.read(range(8))
    assert batch.quarantined == {2: "missing or not finite: floor", 3: "missing or not finite: age"}
    assert batch.inputs[0].isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    "step",
    [
        SimpleImputer(add_indicator=True),
        SimpleImputer(missing_values=-1),
        make_pipeline(OneHotEncoder(), SimpleImputer()),
        make_pipeline(OneHotEncoder(drop="first"), SimpleImputer()),
        make_pipeline(SimpleImputer(), PolynomialFeatures()),
    ],
)
def test_steps_that_are_no_such_arithmetic(path: Path, step: Any) -> None:
    x = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 1.0], [1.0, 2.0]] * 5)
    if "onehotencoder" in getattr(step, "named_steps", {}) or step.get_params().get("missing_values") == -1:
        x = np.nan_to_num(x)
    estimator = make_pipeline(step, LogisticRegression()).fit(x, np.arange(20) % 2)
    with pytest.raises(CheckpointError, match="this step of the pipeline is not known"):
        save_estimator(estimator, path)


def test_files_of_something_else(path: Path) -> None:
    save_file({"head.weight": torch.zeros(3, 4)}, path)
    with pytest.raises(CheckpointError, match=r"not the coefficients of an estimator\n  found: head.weight"):
        logits(path, IRIS)
    save_estimator(LogisticRegression(max_iter=500).fit(X32, Y), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        logits(path, IRIS)


def test_each_sample_is_scored_by_the_model_that_was_fitted_without_it(tmp_path: Path) -> None:
    wrong = np.random.default_rng(0).permutation(len(Y))[:15]
    given = Y.copy()
    given[wrong] = (Y[wrong] + 1) % 3
    np.savez(tmp_path / "iris.npz", x=X32, y=given, truth=Y)
    expected = np.zeros((len(Y), 3))
    for i, (seen, unseen) in enumerate(StratifiedKFold(3, shuffle=True, random_state=0).split(X, given)):
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X32[seen], given[seen])
        save_estimator(model, tmp_path / f"{i}.safetensors")
        np.save(tmp_path / f"{i}.npy", unseen)
        expected[unseen] = model.predict_proba(X32[unseen])
    folds = ", ".join(f"{{checkpoint: {i}.safetensors, samples: {i}.npy}}" for i in range(3))
    config = parse_config(
        "data: {source: arrays, path: iris.npz, x: x, y: y, truth: truth}\n"
        f"model: {{source: sklearn, checkpoint: {{folds: [{folds}]}}}}\n"
        "detector: self_confidence\nbudget: 15\n",
        base=tmp_path,
    )
    run = scan(config, output=tmp_path / "run")
    own = 1 - expected[np.arange(len(Y)), given]
    np.testing.assert_allclose(run.scores["score"].to_numpy(), own, atol=1e-4)
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["self_confidence"].auroc > 0.9

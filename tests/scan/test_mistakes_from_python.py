"""Mistakes in the arguments of the Python functions: each is an ``OgaError`` that names the argument."""

import numpy as np
import pytest
import torch
from torch import nn

import ogacli
from ogacli.errors import OgaError

N, D, K = 40, 4, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % K


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 5), nn.ReLU(), nn.Linear(5, K))


@pytest.fixture
def samples() -> ogacli.Samples:
    return ogacli.Samples.of(X, Y)


def fails() -> nn.Module:
    raise ZeroDivisionError("in the function")


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (fresh, {"folds": 1}, "train.folds"),
        (fails, {"folds": 2}, "ZeroDivisionError: in the function"),
        (fresh, {"checkpoint": []}, "model.checkpoint"),
        (fresh, {"checkpoint": 7}, "model.checkpoint"),
        (fresh(), {"layers": []}, "gradients.layers"),
        (fresh(), {"validation": (X, Y)}, "validation: not samples"),
    ],
)
def test_scan(samples, network, arguments, message):
    with pytest.raises(OgaError, match=message):
        ogacli.scan(samples, network, **arguments)


@pytest.mark.parametrize("options", [{"precision": "half"}, {"batch_size": 0}])
def test_gradients(samples, options):
    with pytest.raises(OgaError, match=f"gradients.{next(iter(options))}"):
        list(ogacli.gradients(samples, fresh(), **options))


def test_a_dataset_in_place_of_samples(tmp_path, samples):
    calls = (
        lambda: ogacli.scan((X, Y), fresh()),
        lambda: list(ogacli.gradients((X, Y), fresh())),
        lambda: ogacli.train((X, Y), fresh, output=tmp_path / "a"),
        lambda: ogacli.attribute(samples, (X, Y), fresh(), output=tmp_path / "b"),
        lambda: ogacli.verify((X, Y), tmp_path / "c", fresh),
    )
    for call in calls:
        with pytest.raises(OgaError, match=r"not samples[\s\S]*Samples\.of"):
            call()


def test_a_result_in_place_of_its_run(samples):
    found = ogacli.scan(samples, fresh())
    with pytest.raises(OgaError, match=r"not a run[\s\S]*save"):
        ogacli.gate(found)


def test_compare_takes_one_run_and_refuses_none(tmp_path, samples):
    run = ogacli.scan(samples, fresh()).save(tmp_path / "run")
    assert ogacli.compare(str(run.path)) == ogacli.compare([run])
    with pytest.raises(OgaError, match="no run"):
        ogacli.compare([])


@pytest.mark.parametrize(
    ("test", "message"),
    [((X[:9], Y[:9] % 2), "other classes"), ((X[:9, :2], Y[:9]), "cannot be called with these samples")],
)
def test_verify_refuses_test_samples_that_do_not_fit(tmp_path, samples, test, message):
    run = ogacli.scan(samples, fresh()).save(tmp_path / "run")
    with pytest.raises(OgaError, match=message):
        ogacli.verify(
            samples, run, fresh, test=ogacli.Samples.of(*test), train={"epochs": 1}, options={"seeds": 2}
        )


def test_checkpoints_are_paths_patterns_or_folds(tmp_path, samples):
    ogacli.train(samples, fresh, output=tmp_path / "ck", options={"epochs": 2})
    ogacli.train(samples, fresh, output=tmp_path / "folds", options={"epochs": 1, "folds": 2})
    paths = sorted((tmp_path / "ck").glob("*.safetensors"))
    table = ogacli.scan(samples, fresh, checkpoint=paths).table()
    assert table.equals(ogacli.scan(samples, fresh, checkpoint=str(tmp_path / "ck/*.safetensors")).table())
    folds = [
        {"checkpoint": tmp_path / f"folds/fold-{i}.safetensors", "samples": tmp_path / f"folds/fold-{i}.npy"}
        for i in (1, 2)
    ]
    assert len(ogacli.scan(samples, fresh, checkpoint={"folds": folds}).table()) == N


def test_an_error_of_any_kind_in_the_network(samples):
    network = nn.Sequential(nn.Embedding(2, 4), nn.Flatten(), nn.Linear(4 * D, K))
    numbers = ogacli.Samples.of(np.full((N, D), 9), Y)
    with pytest.raises(OgaError, match="index out of range"):
        ogacli.scan(numbers, network, layers="all", detector="l2")


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(D, K)

    def forward(self, values, weight):
        assert weight.ndim == 1
        return self.head(values * weight[:, None])


@pytest.mark.parametrize("layers", ["head", "all"])
def test_inputs_that_are_one_number_a_sample(layers):
    weight = np.linspace(1, 2, N).astype(np.float32)
    arrays = ogacli.Samples.of({"values": X, "weight": weight, "labels": Y})
    items = ogacli.Samples.of(
        [{"values": X[i], "weight": torch.tensor(weight[i]), "label": int(Y[i])} for i in range(N)]
    )
    torch.manual_seed(0)
    network = Weighted()
    tables = [ogacli.scan(one, network, layers=layers, detector="l2").table() for one in (arrays, items)]
    assert tables[0].equals(tables[1])


def test_columns_of_a_frame_may_have_numbers_as_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X)
    frame[D] = Y
    samples = ogacli.Samples.of(frame, labels=str(D))
    assert samples.labels.tolist() == Y.tolist()
    assert samples.read([0]).inputs.shape == (1, D)


def test_a_budget_may_be_a_number_of_numpy(samples):
    assert ogacli.scan(samples, fresh(), budget=np.int64(4)).summary.flagged == 4
    assert ogacli.scan(samples, fresh(), budget=np.float32(0.1)).summary.flagged == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, to: ogacli.gate(run, policy=7), "policy: not a policy"),
        (lambda run, to: ogacli.gate(run, policy=[1]), "policy: not a policy"),
        (lambda run, to: ogacli.gate(run, baseline=3), "not a run"),
        (lambda run, to: ogacli.report(run, None), "not the name of a report format"),
        (lambda run, to: ogacli.report(run, ["html"]), "not the name of a report format"),
        (lambda run, to: ogacli.trim(run, to, format=7), "not the name of a trim format"),
        (lambda run, to: ogacli.trim(run, 7), "to: not a path"),
        (lambda run, to: ogacli.compare(7), "not a run"),
        (lambda run, to: ogacli.init(7), "data: not a path"),
        (lambda run, to: ogacli.init(output=7), "output: not a path"),
    ],
)
def test_arguments_of_the_commands_on_runs(tmp_path, samples, call, message):
    run = ogacli.scan(samples, fresh(), detector="l2").save(tmp_path / "run")
    with pytest.raises(OgaError, match=message):
        call(run, tmp_path / "clean.csv")


COMPLEX = (X + 1j * X).astype(np.complex64)


@pytest.mark.parametrize("dataset", [COMPLEX, torch.tensor(COMPLEX)])
def test_complex_inputs_are_refused(dataset):
    with pytest.raises(OgaError, match="complex numbers"):
        ogacli.Samples.of(dataset, Y)


def test_complex_columns_and_labels_are_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(OgaError, match="column 'a': complex numbers"):
        ogacli.Samples.of(pandas.DataFrame({"a": COMPLEX[:, 0], "y": Y}), "y")
    with pytest.raises(OgaError, match=r"not labels\n  found: complex64"):
        ogacli.Samples.of(X, COMPLEX[:, 0])


def test_inputs_in_bfloat16_are_taken():
    x = torch.tensor(X).bfloat16()
    assert torch.equal(ogacli.Samples.of(x, Y).read([0, 1]).inputs, x[:2].float())


class OfTexts(nn.Module):
    """Makes tensors of texts itself, one after the other or all at once."""

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.together = together
        self.table = nn.Embedding(30, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, texts):
        rows = [[ord(letter) % 30 for letter in text[:3]] for text in texts]
        if self.together:
            return self.head(torch.tanh(self.table(torch.tensor(rows))).mean(1))
        return self.head(torch.stack([torch.tanh(self.table(torch.tensor(row))).mean(0) for row in rows]))


@pytest.mark.parametrize("together", [False, True])
def test_all_layers_of_a_network_of_texts(together):
    texts = ["abcd", "xyz", "cab", "zzz", "ayb", "bcd", "qrs"]
    labels = torch.tensor([0, 1, 0, 1, 0, 0, 1])
    module = OfTexts(together=together)
    (batch,) = ogacli.gradients(ogacli.Samples.of(texts, labels), module, layers="all")
    for i, text in enumerate(texts):
        loss = nn.functional.cross_entropy(module([text]), labels[i : i + 1])
        exact = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(module.parameters()))])
        torch.testing.assert_close(batch.select(slice(i, i + 1)).dense()[0], exact)

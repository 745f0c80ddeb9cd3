import resource

import fsspec
import numpy as np
import pytest
import torch

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.data import Batch
from ogacli.data.files.npy_shards import open_rows
from ogacli.errors import ConfigError, DataError
from ogacli.models.sources.precomputed import Precomputed, PrecomputedSource
from ogacli.models.tasks.classification import Classification


@pytest.fixture
def files(tmp_path):
    """Writes arrays as npy files and reads a ``precomputed`` section that names them."""

    def make(bias: bool = True, **arrays: np.ndarray):
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        section = ", ".join(f"{name}: {name}.npy" for name in arrays)
        text = f"data: {{source: digits}}\nmodel: {{source: precomputed, {section}, bias: {bias}}}"
        return parse_config(text, base=tmp_path).model

    return make


def of_rows(samples, rows) -> Batch:
    index = torch.tensor(rows)
    return Batch(index, None, samples.labels[index], {})


LOGITS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
FEATURES = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)


def softmax(logits):
    return torch.from_numpy(logits).softmax(1).numpy()


def test_logits_and_features_are_looked_up_by_position(files, make_samples):
    samples = make_samples(np.zeros((9, 1), np.float32)).select(torch.tensor([8, 2, 5]))
    model = files(logits=LOGITS, features=FEATURES, bias=False).load(samples)
    assert isinstance(model, Precomputed)
    assert not model.reads_inputs
    found = model.outputs(of_rows(samples, [2, 0]))
    assert found.logits.numpy().tolist() == LOGITS[[5, 8]].tolist()
    assert found.features.numpy().tolist() == FEATURES[[5, 8]].tolist()
    assert found.bias is False


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_give_the_residual_of_the_logits_that_they_came_from(files, make_samples, dtype):
    samples = make_samples(np.zeros((9, 1), np.float32))
    batch = of_rows(samples, list(range(9)))
    loss = Classification()
    model = files(probabilities=softmax(LOGITS).astype(dtype)).load(samples)
    found = loss.residual(model.outputs(batch).logits, batch.labels)
    expected = loss.residual(torch.from_numpy(LOGITS), batch.labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3 if dtype == np.float16 else 1e-6)
    assert model.outputs(batch).features is None


@pytest.mark.parametrize("place", ["local", "memory"])
def test_several_files_one_below_the_other(tmp_path, make_samples, place):
    samples = make_samples(np.zeros((9, 1), np.float32))
    root = str(tmp_path) if place == "local" else f"memory://{tmp_path.name}"
    for number, part in enumerate(np.split(LOGITS.astype(np.float16), [4, 5])):
        with fsspec.open(f"{root}/p-{number}.npy", "wb") as file:
            np.save(file, part)
    for pattern in ("p-*.npy", "p-{0..2}.npy"):
        source = PrecomputedSource(logits=f"{root}/{pattern}")
        found = source.load(samples).outputs(of_rows(samples, [8, 0, 4, 3, 8])).logits
        assert found.numpy().tolist() == LOGITS.astype(np.float16)[[8, 0, 4, 3, 8]].tolist()
        assert len(source.fingerprints()) == 3
        np.testing.assert_array_equal(open_rows(f"{root}/{pattern}")[2:6], LOGITS.astype(np.float16)[2:6])


def test_files_of_other_columns(tmp_path, make_samples):
    for number, width in enumerate((3, 4)):
        np.save(tmp_path / f"p-{number}.npy", np.ones((5, width), np.float32))
    samples = make_samples(np.zeros((9, 1), np.float32))
    with pytest.raises(DataError, match=r"p-1\.npy: the files of an array differ in their columns"):
        PrecomputedSource(logits=f"{tmp_path}/p-*.npy").load(samples)
    with pytest.raises(DataError, match="no shard of such a name"):
        PrecomputedSource(logits=f"{tmp_path}/q-*.npy").load(samples)
    np.save(tmp_path / "p[0].npy", LOGITS)
    assert PrecomputedSource(logits=f"{tmp_path}/p[0].npy").load(samples).table.width == 3


def test_a_probability_of_zero_stays_finite(files, make_samples):
    samples = make_samples(np.zeros((3, 1), np.float32))
    model = files(probabilities=np.eye(3, dtype=np.float32)).load(samples)
    batch = Batch(torch.arange(3), None, torch.tensor([0, 2, 2]), {})
    logits = model.outputs(batch).logits
    assert logits.isfinite().all()
    residual = Classification().residual(logits, batch.labels)
    torch.testing.assert_close(residual, torch.tensor([[0.0, 0, 0], [0, 1, -1], [0, 0, 0]]))


def test_rows_that_are_not_finite_come_out_so(files, make_samples):
    samples = make_samples(np.zeros((9, 1), np.float32))
    probabilities, features = softmax(LOGITS), FEATURES.copy()
    probabilities[2, 1] = np.nan
    features[4, 0] = np.inf
    found = (
        files(probabilities=probabilities, features=features)
        .load(samples)
        .outputs(of_rows(samples, list(range(9))))
    )
    assert (~found.logits.isfinite().all(1)).nonzero().tolist() == [[2]]
    assert (~found.features.isfinite().all(1)).nonzero().tolist() == [[4]]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda p: p[5].__imul__(0.5), "sum 0.5"),
        (lambda p: p[5].__isub__(np.array([1, -1, 0], np.float32)), "smallest value -"),
    ],
)
def test_rows_that_are_not_distributions(files, make_samples, change, found):
    probabilities = softmax(LOGITS)
    change(probabilities)
    with pytest.raises(DataError, match=r"probabilities\.npy: row 5: not probabilities") as caught:
        files(probabilities=probabilities).load(make_samples(np.zeros((9, 1), np.float32)))
    assert found in str(caught.value)
    assert "give unnormalised values as `logits`" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS[:8]}, "too few rows\n  found: 8 rows\n  expected: at least 9"),
        ({"logits": LOGITS[:, :2]}, "too few columns\n  found: 2 columns\n  expected: at least 3"),
        ({"logits": LOGITS[0]}, "not a matrix\n  found: \\[3\\]"),
        ({"logits": LOGITS > 0}, "not numbers\n  found: bool"),
        ({"logits": LOGITS, "features": FEATURES[:5]}, "features.npy: too few rows"),
        (
            {"logits": LOGITS, "features": np.vstack([FEATURES, FEATURES])},
            "features.npy: the files differ in length\n  found: 18 rows\n  expected: 9",
        ),
    ],
)
def test_files_that_do_not_fit(files, make_samples, arrays, message):
    with pytest.raises(DataError, match=message):
        files(**arrays).load(make_samples(np.zeros((9, 1), np.float32)))


def test_a_file_that_is_missing_or_no_array(files, make_samples, tmp_path):
    samples = make_samples(np.zeros((9, 1), np.float32))
    options = files(logits=LOGITS)
    (tmp_path / "logits.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"logits\.npy"):
        options.load(samples)
    (tmp_path / "logits.npy").unlink()
    with pytest.raises(DataError, match="no such file"):
        options.load(samples)


def test_one_of_probabilities_and_logits(files):
    with pytest.raises(ConfigError, match="give either `probabilities` or `logits`"):
        files(logits=LOGITS, probabilities=softmax(LOGITS))
    with pytest.raises(ConfigError, match="give either `probabilities` or `logits`"):
        files(features=FEATURES)


def test_the_files_are_the_checkpoint(files, tmp_path):
    model = files(logits=LOGITS, features=FEATURES)
    assert model.checkpoint_files() == (str(tmp_path / "logits.npy"), str(tmp_path / "features.npy"))


def resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_mapped_pages_do_not_pile_up(files, make_samples):
    n, k = 40_000, 500
    model = files(logits=np.ones((n, k), np.float32)).load(make_samples(np.zeros((n, 1), np.float32)))
    before, most = resident(), 0
    for rows in torch.arange(n).split(1000):
        model.outputs(Batch(rows, None, rows % 3, {}))
        most = max(most, resident())
    assert most - before < n * k * 4 / 4, "a quarter of the file"


def test_whoever_says_that_the_answers_are_held_out_is_believed(tmp_path):
    """Of a model that is less sure than right it cannot be seen."""
    generator = np.random.default_rng(0)
    true = np.arange(300) % 3
    labels = np.where(generator.random(300) < 0.1, (true + 1) % 3, true)
    logits = np.eye(3)[true] + 0.1 * generator.normal(size=(300, 3))
    np.save(tmp_path / "y.npy", labels)
    np.save(tmp_path / "z.npy", logits)
    told = {}
    for held_out in ("true", "false", "null"):
        text = (
            "data: {source: arrays, y: y.npy}\nbudget: auto\n"
            f"model: {{source: precomputed, logits: z.npy, held_out: {held_out}}}"
        )
        summary = scan(parse_config(text, base=tmp_path), output=tmp_path / held_out).summary
        told[held_out] = summary.estimate
        assert summary.diagnosis.held_out is (held_out == "true")
        asks = any("held_out: true" in note for note in summary.notes)
        assert asks is (held_out == "null"), summary.notes
    assert told["false"].by == "checkpoint"
    assert told["true"].by == "held out"
    assert told["true"].share == pytest.approx((labels != true).mean(), abs=0.01)

import pytest
import torch

from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle, NoisyOracle, OracleConfig


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(4000, size=4, classes=5)


def test_the_data_sets_oracle_knows_what_the_data_set_knows(shared):
    data = shared.make_images(5, labels=torch.tensor([2, -1, 0, 1, -1]))
    oracle = DatasetOracle(data)
    assert oracle.answerable().tolist() == [0, 2, 3]
    assert oracle([3, 0]) == [1, 2]
    for either in (oracle, NoisyOracle(data, 0.5)):
        with pytest.raises(DalError) as error:
            either([0, 4])
        assert str(error.value) == "oracle: expected a point with a known label, got 'image-004'."


def test_noise_has_its_rate_and_spreads_over_the_other_classes(data):
    answers = torch.tensor(NoisyOracle(data, 0.2, seed=3)(range(4000)))
    wrong = answers != data.labels
    # Five standard errors of 4000 points.
    assert abs(float(wrong.float().mean()) - 0.2) < 5 * (0.16 / 4000) ** 0.5
    shifts = ((answers - data.labels) % 5)[wrong].bincount(minlength=5)
    assert shifts[0] == 0
    assert (shifts[1:] > 130).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_noise_of_one_is_never_the_right_class(shared, classes):
    data = shared.make_images(500, size=4, classes=classes)
    answers = torch.tensor(NoisyOracle(data, 1.0)(range(500)))
    assert (answers != data.labels).all()
    assert set(answers.tolist()) == set(range(classes))


def test_an_answer_depends_on_the_seed_and_the_point_alone(data):
    oracle = NoisyOracle(data, 0.5, seed=1)
    answers = oracle(range(200))
    torch.rand(10)
    assert [oracle([i])[0] for i in reversed(range(200))] == answers[::-1]
    assert NoisyOracle(data, 0.5, seed=1)(torch.arange(200)) == answers
    assert NoisyOracle(data, 0.5, seed=2)(range(200)) != answers


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_is_a_probability(data, noise):
    with pytest.raises(DalError, match=r"^oracle\.noise: expected a probability from 0 to 1, got "):
        OracleConfig(noise=noise).build(data, 0)


def test_config_builds_the_oracle(data):
    assert type(OracleConfig().build(data, 0)) is DatasetOracle
    assert OracleConfig(noise=0.5).build(data, 7)(range(50)) == NoisyOracle(data, 0.5, seed=7)(range(50))

"""What a training minimises: cross entropy or focal loss, and a penalty for scores that follow the jet mass.

Shapes: B jets of a batch, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.config import LossConfig
from hepcnn.data.batches import Batch
from hepcnn.errors import ConfigError, TrainingError, did_you_mean

Loss = Callable[[Tensor, Batch], Tensor]
"""Logits (B, K) and their batch in, a mean over the jets with their weights out. It gets the jets of all processes: of
the batch's images and jet features, it sees those of its own process only."""


def make_loss(config: LossConfig, *, class_names: Sequence[str], background: str) -> Loss:
    """Make the loss that a config describes.

    Parameters
    ----------
    config
        Kind of loss, label smoothing, factors by class, strength of the penalty.
    class_names
        The K classes, in the order of the logits.
    background
        The class whose jets the penalty looks at; the others are signals.

    Returns
    -------
    callable
        Logits (B, K) and a `Batch` in, the loss out: the mean over jets, weighted with jet weight times class factor,
        plus ``disco`` times the mean over signals of `distance_correlation`. 0 where no jet has a weight.

    Raises
    ------
    ConfigError
        When a factor or the background is given for a class that does not exist.
    TrainingError
        When called: the penalty is wanted, and the batch does not know its jets' masses.

    Notes
    -----
    The penalty is DisCo (arXiv:2001.05310), between the jet mass and ``p_signal / (p_signal + p_background)``,
    on jets of the background. It is computed in single precision at least, whatever the precision of the training.
    """
    for name in (*config.class_weights, background):
        if name not in class_names:
            raise ConfigError(f"training.loss: no class '{name}'{did_you_mean(name, class_names)}")
    factors = torch.tensor([config.class_weights.get(name, 1.0) for name in class_names])
    number = list(class_names).index(background)
    gamma = config.gamma if config.kind == "focal" else 0.0

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        losses = focal_losses(logits, batch.label, gamma=gamma, label_smoothing=config.label_smoothing)
        weight = batch.weight
        if config.class_weights:
            weight = weight * factors.to(weight.device)[batch.label]
        total = weight.sum()
        mean = (losses * weight).sum() / torch.where(total == 0, 1.0, total)
        return mean + config.disco * disco_penalty(logits, batch, background=number) if config.disco else mean

    return loss


def focal_losses(logits: Tensor, label: Tensor, *, gamma: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """Focal loss of each jet, (B,); cross entropy for ``gamma = 0``.

    Parameters
    ----------
    logits, label
        (B, K) and (B,).
    gamma
        How much jets that are classified well count less.
    label_smoothing
        The part of a jet's label that is spread evenly over all classes.

    Notes
    -----
    ``-sum_k q_k (1 - p_k)^gamma log p_k`` (arXiv:1708.02002, eq. 4, without its class factor), where ``q`` is the
    label: one for the jet's class, or with smoothing ``1 - eps + eps / K`` for it and ``eps / K`` for the others
    (arXiv:1512.00567, section 7).
    """
    if gamma == 0:
        return functional.cross_entropy(logits, label, reduction="none", label_smoothing=label_smoothing)
    log_p = functional.log_softmax(logits, dim=1)
    # 1 - p by expm1: a jet that is certain has no rounding to raise to a power.
    terms = -((-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** gamma) * log_p
    own = terms.gather(1, label[:, None])[:, 0]
    return (1 - label_smoothing) * own + label_smoothing * terms.mean(dim=1) if label_smoothing else own


def disco_penalty(logits: Tensor, batch: Batch, *, background: int) -> Tensor:
    """Mean over signals of the distance correlation between score and mass of the background jets of a batch.

    Jets of other classes get the weight 0 instead of being left out: shapes then depend on nothing, and a GPU waits for
    nothing. Some ten matrices of (B, B) floats are alive: 45 MB for 1024 jets, 520 MB for 4096 (measured, CPU).

    Raises
    ------
    TrainingError
        When the batch does not know its jets' masses.
    """
    if batch.mass is None:
        raise TrainingError("training.loss.disco needs the jets' masses, which these batches do not hold")
    wide = logits if logits.dtype == torch.float64 else logits.float()
    weight = batch.weight.to(wide.dtype) * (batch.label == background)
    signals = [number for number in range(logits.shape[1]) if number != background]
    penalties = [
        # p_s / (p_s + p_b), which a cut of the analysis acts on.
        distance_correlation(torch.sigmoid(wide[:, signal] - wide[:, background]), batch.mass.to(wide.dtype), weight)
        for signal in signals
    ]
    return torch.stack(penalties).mean()


def distance_correlation(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Squared distance correlation of two variables: 0 if they are independent, 1 if one is linear in the other.

    Parameters
    ----------
    x, y
        (B,) floating point, finite.
    weight
        (B,); a jet of weight two counts like two jets. Negative weights count as 0: distances are averaged, and have a
        meaning for a measure only.

    Returns
    -------
    Tensor
        A number from 0 to 1; 0, without a gradient, where fewer than two jets have a weight, or a variable does not
        vary.

    Notes
    -----
    ``dCov²(x, y) / sqrt(dCov²(x, x) dCov²(y, y))`` with ``dCov²`` the mean of the products of doubly centred distances
    (arXiv:0803.4101; with weights as in arXiv:2001.05310). The estimate is biased: for B independent jets
    it is of the order of 1 / B, not 0.
    """
    positive = weight.clamp_min(0)
    total = positive.sum()
    measure = positive / torch.where(total == 0, 1.0, total)
    a, b = _centred_distances(x, measure), _centred_distances(y, measure)
    covariance, *variance = (measure @ product @ measure for product in (a * b, a.square(), b.square()))
    variances = variance[0] * variance[1]
    # The root is taken of a positive number even where the result is not used: its gradient would be NaN.
    varies = variances > torch.finfo(variances.dtype).tiny
    return torch.where(varies, covariance / torch.where(varies, variances, 1.0).sqrt(), 0.0)


def _centred_distances(x: Tensor, measure: Tensor) -> Tensor:
    """Distances (B, B) whose weighted mean along each row and column is 0."""
    distances = (x[:, None] - x[None, :]).abs()
    rows = distances @ measure
    return distances - rows[:, None] - rows[None, :] + measure @ rows

"""Parts shared by models with Gaussian latents: q(z_j | x) = N(mean_j, exp(log_variance_j))."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models.model import Model, Noise


def split(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Split an encoder's output [b, 2d] into mean [b, d] and log variance [b, d]."""
    mean, log_variance = statistics.chunk(2, dim=1)
    return mean, log_variance


def codes(statistics: Tensor) -> Codes:
    """Return an encoder's output [b, 2d] as codes: posterior means with their standard deviations."""
    mean, log_variance = split(statistics)
    return Codes(mean, deviations=torch.exp(0.5 * log_variance))


def sample(mean: Tensor, log_variance: Tensor, noise: Noise) -> Tensor:
    """Return one reparametrised sample [b, d]."""
    return mean + torch.exp(0.5 * log_variance) * noise.normal(mean)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(q(z_j | x) || N(0, 1)) of each latent, in nats, [b, d]."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


class Bound(NamedTuple):
    """Terms of the evidence bound (scalars), and the mean, log variance and sample of each latent, all [b, d]."""

    error: Tensor
    kl: Tensor
    mean: Tensor
    log_variance: Tensor
    z: Tensor


def bound(model: Model, x: Tensor, noise: Noise) -> Bound:
    """Return the terms of the evidence bound for images [b, c, h, w], from one sample of each code.

    The divergence from N(0, 1) is in nats, summed over latents and averaged over the batch.
    """
    mean, log_variance = split(model.encoder(x))
    z = sample(mean, log_variance, noise)
    error = model.error(model.decoder(z), x)
    kl = kl_to_standard_normal(mean, log_variance).sum(1).mean()
    return Bound(error, kl, mean, log_variance, z)


def covariance(mean: Tensor) -> Tensor:
    """Return the covariance [d, d] of posterior means [b, d] over the minibatch, divided by b."""
    centred = mean - mean.mean(0)
    return centred.T @ centred / len(mean)


def covariance_penalty(covariance: Tensor, *, off_diagonal: float, diagonal: float) -> Tensor:
    """Return the distance of a covariance C [d, d] from the identity (Kumar et al. 2018, arXiv 1711.00848).

    It is off_diagonal * sum_{i != j} C_ij^2 + diagonal * sum_i (C_ii - 1)^2.
    """
    own = covariance.diagonal()
    others = covariance - own.diag()
    return off_diagonal * others.square().sum() + diagonal * (own - 1).square().sum()


def log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; mean, exp(log_variance)) element by element; arguments broadcast."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (z - mean).square() * torch.exp(-log_variance))


def split_kl(
    z: Tensor, mean: Tensor, log_variance: Tensor, *, n_train: int, stratified: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate mutual information, total correlation and dimension-wise KL (scalars, nats) from one minibatch.

    They follow Chen et al. 2018 (arXiv 1802.04942), equation 2: the three add up to the batch mean of
    log q(z|x) - log p(z). log q(z) is estimated by minibatch-weighted sampling (their section 4.1; the constant is
    log(N*b)) or, if ``stratified``, by minibatch-stratified sampling (their appendix C.2). The paper's released code
    puts the stratified weights into a column instead of the diagonal; here they are where the appendix puts them.
    """
    b = len(z)
    pairs = log_density(z[:, None], mean[None], log_variance[None])  # [b samples, b posteriors, d]
    if stratified:
        weights = stratified_log_weights(b, n_train, like=z)
        log_qz = torch.logsumexp(pairs.sum(2) + weights, dim=1)
        log_qz_each = torch.logsumexp(pairs + weights[:, :, None], dim=1)
    else:
        constant = math.log(n_train * b)
        log_qz = torch.logsumexp(pairs.sum(2), dim=1) - constant
        log_qz_each = torch.logsumexp(pairs, dim=1) - constant
    log_qz_product = log_qz_each.sum(1)
    log_qz_given_x = log_density(z, mean, log_variance).sum(1)
    log_prior = log_density(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    return (
        (log_qz_given_x - log_qz).mean(),
        (log_qz - log_qz_product).mean(),
        (log_qz_product - log_prior).mean(),
    )


def stratified_log_weights(b: int, n_train: int, *, like: Tensor) -> Tensor:
    """Return the log weights [b, b] of minibatch-stratified sampling (Chen et al. 2018, appendix C.2).

    Row i estimates q(z_i), with weight 1/N for the image that z_i came from, (N-M)/(N*M) for one other image and 1/M
    for the remaining M-1, where M = b-1. The weights of a row sum to 1. Raises ``ValueError`` for b < 2.
    """
    others = b - 1
    if others < 1:
        raise ValueError(f"minibatch-stratified sampling needs at least 2 images in a batch, got {b}")
    weights = torch.full((b, b), 1 / others, dtype=like.dtype, device=like.device)
    weights.fill_diagonal_(1 / n_train)
    rows = torch.arange(b, device=like.device)
    weights[rows, (rows + 1) % b] = (n_train - others) / (n_train * others)
    return weights.log()

"""Every built-in model once more, straight from its equations: plain loops over images, latents and symbols.

Nothing here calls the package. A function gets the model's parameters by name, its settings, one update's images, the
step and the run's noise, and gives each player's loss as a graph on those parameters. The network is conv64. All models
are in this one file, so that what they share is seen to be shared with nothing else.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

SMALL = {"kl_weight": 0.3, "gamma": 0.7, "discriminator_layers": 2}
SOFT = {**SMALL, "symbols": 5}
HARD = {"symbols": 5, "quantisation_weight": 0.6, "commitment_weight": 0.2}

CASES = {
    "beta_vae": ("beta_vae", {"kl_weight": 0.3}),
    "factor_vae": ("factor_vae", SMALL),
    "factor_vae, gamma 0": ("factor_vae", {**SMALL, "gamma": 0.0}),
    "beta_tcvae, weighted": ("beta_tcvae", {"kl_weight": 0.3, "tc_weight": 4.0}),
    "beta_tcvae, stratified": ("beta_tcvae", {"kl_weight": 0.3, "tc_weight": 4.0, "estimator": "stratified"}),
    "vq_vae": ("vq_vae", {**HARD, "embedding_dim": 2, "weight_decay": 0.01}),
    "qlae": ("qlae", {**HARD, "weight_decay": 0.1}),
    "factor_qvae": ("factor_qvae", SOFT),
    "factor_qvae, vectors": ("factor_qvae", {**SOFT, "embedding_dim": 3}),
    "factor_qvae, a codebook per latent": ("factor_qvae", {**SOFT, "codebook": "per_latent"}),
    "factor_qvae, gamma 0": ("factor_qvae", {**SOFT, "gamma": 0.0}),
    "ae": ("ae", {"weight_decay": 0.05}),
    "ae_ica": ("ae_ica", {"weight_decay": 0.1}),
    "bio_ae": ("bio_ae", {"nonneg_weight": 0.4, "activity_weight": 0.3, "weight_decay": 1e-4}),
    "annealed_vae, below its capacity": ("annealed_vae", {"kl_weight": 0.3, "capacity_steps": 100_000}),
    "annealed_vae, above its capacity": (
        "annealed_vae",
        {"kl_weight": 0.3, "capacity_steps": 20_000, "capacity": 0.01},
    ),
    "dip_vae_i": ("dip_vae_i", {"kl_weight": 0.3, "lambda_od": 7.0, "lambda_d": 2.0}),
    "dip_vae_ii": ("dip_vae_ii", {"kl_weight": 0.3, "lambda_od": 7.0, "lambda_d": 2.0}),
    "dvae": ("dvae", {"symbols": 5, "kl_weight": 0.3}),
    "factor_dvae": ("factor_dvae", SOFT),
    "factor_dvae, gamma 0": ("factor_dvae", {**SOFT, "gamma": 0.0}),
    "q_vae": ("q_vae", {"symbols": 5, "kl_weight": 0.3}),
    "fsq": ("fsq", {"symbols": 5, "weight_decay": 0.05}),
    "tripod": ("tripod", {"symbols": 5, "klm_weight": 0.02, "nhp_weight": 0.002, "weight_decay": 0.05}),
    "tripod, not rounded": (
        "tripod",
        {"quantise": False, "normalised": False, "klm_weight": 0, "nhp_weight": 0},
    ),
    "tripod, without penalties": ("tripod", {"symbols": 5, "normalised": False, "klm_weight": 0, "nhp_weight": 0}),
    "hfs": ("hfs", {"kl_weight": 0.3, "gamma": 0.4, "delta": 0.2, "pairs": 2, "points": 5}),
}
"""Cases: a model's name, which its function here has too, and settings under which every term weighs enough to be seen;
with the weight decay of models that have one."""


class Draws:
    """Random numbers in the order in which the models draw them, from a generator equal to theirs."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float64).normal_(generator=self.generator)

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float64).uniform_(generator=self.generator)

    def orders(self, b: int, d: int) -> list[list[int]]:
        """For each latent an order of the b images."""
        keys = torch.rand(b, d, generator=self.generator).tolist()
        return [sorted(range(b), key=lambda i, j=j: keys[i][j]) for j in range(d)]


class StraightThrough(torch.autograd.Function):
    """The second argument forwards; the gradient goes to the first one, as if nothing had happened."""

    @staticmethod
    def forward(ctx, z, rounded):
        return rounded.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


# --- networks -------------------------------------------------------------------------------------------------------


def layers(p, part):
    """Weights and biases of one part of the model, in order."""
    of_part = [value for name, value in p.items() if name.startswith(f"{part}.")]
    return list(zip(of_part[::2], of_part[1::2], strict=True))


def encoder(p, image):
    """One image [c, h, w] to the encoder's outputs: four convolutions, two linear layers."""
    *convolutions, hidden, head = layers(p, "encoder")
    assert len(convolutions) == 4
    out = image
    for weight, bias in convolutions:
        out = torch.relu(F.conv2d(out[None], weight, bias, stride=2, padding=1)[0])
    out = torch.relu(hidden[0] @ out.flatten() + hidden[1])
    return head[0] @ out + head[1]


def decoder(p, z):
    """Numbers [d] to an image [c, h, w]: two linear layers, four transposed convolutions."""
    first, second, *convolutions = layers(p, "decoder")
    assert len(convolutions) == 4
    out = torch.relu(first[0] @ z + first[1])
    out = torch.relu(second[0] @ out + second[1])
    side = math.isqrt(len(out) // 64)
    out = out.reshape(64, side, side)
    for number, (weight, bias) in enumerate(convolutions):
        out = F.conv_transpose2d(out[None], weight, bias, stride=2, padding=1)[0]
        if number < 3:
            out = torch.relu(out)
    return out


def discriminator(p, z):
    """Numbers to two logits, leaky ReLU of slope 0.2 between."""
    *hidden, last = layers(p, "discriminator")
    for weight, bias in hidden:
        z = weight @ z + bias
        z = torch.where(z > 0, z, 0.2 * z)
    return last[0] @ z + last[1]


def reconstruction_error(p, x, inputs):
    """Mean squared error over images, channels and pixels."""
    total = 0
    for image, z in zip(x, inputs, strict=True):
        total = total + ((decoder(p, z) - image) ** 2).sum()
    return total / x.numel()


# --- plain codes ----------------------------------------------------------------------------------------------------


def ae(p, c, x, step, draws, n_train):
    return {"autoencoder": reconstruction_error(p, x, [encoder(p, image) for image in x])}


def ae_ica(p, c, x, step, draws, n_train):
    return ae(p, c, x, step, draws, n_train)


def bio_ae(p, c, x, step, draws, n_train):
    codes = [encoder(p, image) for image in x]
    negative = energy = 0
    for z in codes:
        for number in z:
            negative = negative + (-number if number < 0 else 0)
            energy = energy + number * number
    count = len(x) * c.latents
    error = reconstruction_error(p, x, codes)
    return {"autoencoder": error + c.nonneg_weight * negative / count + c.activity_weight * energy / count}


# --- Gaussian latents -----------------------------------------------------------------------------------------------


def gaussian_latents(p, c, x, draws):
    """Means, log variances and one sample of every latent of every image, as lists of lists of scalars."""
    noise = draws.normal(len(x), c.latents)
    means, log_variances, samples = [], [], []
    for i, image in enumerate(x):
        out = encoder(p, image)
        means.append([out[j] for j in range(c.latents)])
        log_variances.append([out[c.latents + j] for j in range(c.latents)])
        samples.append([m + v.exp().sqrt() * n for m, v, n in zip(means[i], log_variances[i], noise[i], strict=True)])
    return means, log_variances, samples


def mean_kl(means, log_variances):
    """KL against N(0, 1), summed over latents, mean over images."""
    total = 0
    for mean, log_variance in zip(means, log_variances, strict=True):
        for m, v in zip(mean, log_variance, strict=True):
            total = total + (v.exp() + m * m - 1 - v) / 2
    return total / len(means)


def bound(p, c, x, draws):
    """beta-VAE's loss, and the samples."""
    means, log_variances, samples = gaussian_latents(p, c, x, draws)
    error = reconstruction_error(p, x, [torch.stack(z) for z in samples])
    return error + c.kl_weight * mean_kl(means, log_variances), samples


def beta_vae(p, c, x, step, draws, n_train):
    return {"autoencoder": bound(p, c, x, draws)[0]}


def beta_tcvae(p, c, x, step, draws, n_train):
    means, log_variances, samples = gaussian_latents(p, c, x, draws)
    b, d = len(x), c.latents

    def density(z, mean, log_variance):
        return torch.exp(-((z - mean) ** 2) / (2 * log_variance.exp())) / torch.sqrt(2 * math.pi * log_variance.exp())

    def weight(i, k):
        """Of image k's posterior in the estimate of q(z_i)."""
        if c.estimator == "weighted":
            return 1 / (n_train * b)
        m = b - 1
        if k == i:
            return 1 / n_train
        return (n_train - m) / (n_train * m) if k == (i + 1) % b else 1 / m

    mi = tc = dimension_kl = 0
    for i in range(b):
        joint, product, own, prior = 0, 1, 1, 1
        for k in range(b):
            of_all = 1
            for j in range(d):
                of_all = of_all * density(samples[i][j], means[k][j], log_variances[k][j])
            joint = joint + weight(i, k) * of_all
        for j in range(d):
            marginal = 0
            for k in range(b):
                marginal = marginal + weight(i, k) * density(samples[i][j], means[k][j], log_variances[k][j])
            product = product * marginal
            own = own * density(samples[i][j], means[i][j], log_variances[i][j])
            prior = prior * density(samples[i][j], torch.tensor(0.0), torch.tensor(0.0))
        mi = mi + torch.log(own / joint) / b
        tc = tc + torch.log(joint / product) / b
        dimension_kl = dimension_kl + torch.log(product / prior) / b
    error = reconstruction_error(p, x, [torch.stack(z) for z in samples])
    return {"autoencoder": error + c.kl_weight * (mi + c.tc_weight * tc + dimension_kl)}


def annealed_vae(p, c, x, step, draws, n_train):
    means, log_variances, samples = gaussian_latents(p, c, x, draws)
    error = reconstruction_error(p, x, [torch.stack(z) for z in samples])
    capacity = c.capacity * step / c.capacity_steps if step < c.capacity_steps else c.capacity
    excess = mean_kl(means, log_variances) - capacity
    return {"autoencoder": error + c.kl_weight * (excess if excess > 0 else -excess)}


def covariance_of_means(means, i, j):
    b = len(means)
    average_i, average_j = (sum(mean[n] for mean in means) / b for n in (i, j))
    return sum((mean[i] - average_i) * (mean[j] - average_j) for mean in means) / b


def dip(p, c, x, draws, with_variances):
    """The bound and the covariance's squared distances from the identity, all but the error times ``kl_weight``."""
    means, log_variances, samples = gaussian_latents(p, c, x, draws)
    penalty = 0
    for i in range(c.latents):
        for j in range(c.latents):
            entry = covariance_of_means(means, i, j)
            if i != j:
                penalty = penalty + c.lambda_od * entry**2
                continue
            if with_variances:
                entry = entry + sum(v[i].exp() for v in log_variances) / len(x)
            penalty = penalty + c.lambda_d * (entry - 1) ** 2
    error = reconstruction_error(p, x, [torch.stack(z) for z in samples])
    return {"autoencoder": error + c.kl_weight * (mean_kl(means, log_variances) + penalty)}


def dip_vae_i(p, c, x, step, draws, n_train):
    return dip(p, c, x, draws, with_variances=False)


def dip_vae_ii(p, c, x, step, draws, n_train):
    return dip(p, c, x, draws, with_variances=True)


# --- discriminators -------------------------------------------------------------------------------------------------


def adversarial(p, c, loss, codes, other_codes, draws):
    """The autoencoder's loss with its total correlation, and the discriminator's.

    ``codes`` and ``other_codes`` are [image][latent], each latent a tensor of one or several numbers.
    """
    b, d = len(codes), len(codes[0])
    total_correlation = 0
    for code in codes:
        logits = discriminator(p, torch.cat(code))
        total_correlation = total_correlation + (logits[0] - logits[1]) / b
    orders = draws.orders(b, d)
    entropy = 0
    for i in range(b):
        real = torch.cat(codes[i]).detach()
        shuffled = torch.cat([other_codes[orders[j][i]][j] for j in range(d)]).detach()
        for code, label in ((real, 0), (shuffled, 1)):
            odds = discriminator(p, code).exp()
            entropy = entropy - torch.log(odds[label] / odds.sum()) / b
    return {"autoencoder": loss + c.gamma * total_correlation, "discriminator": 0.5 * entropy}


def factor_vae(p, c, x, step, draws, n_train):
    if c.gamma == 0:
        return beta_vae(p, c, x, step, draws, n_train)
    half = len(x) // 2
    loss, samples = bound(p, c, x[:half], draws)
    others = gaussian_latents(p, c, x[half:], draws)[2]
    codes, other_codes = ([[z.reshape(1) for z in row] for row in rows] for rows in (samples, others))
    return adversarial(p, c, loss, codes, other_codes, draws)


# --- symbols --------------------------------------------------------------------------------------------------------


def values_of(codebook, j):
    """The values that latent j may take: a codebook is shared [v, e], or one per latent [d, v, e]."""
    return codebook if codebook.dim() == 2 else codebook[j]


def tokens_of(out, d, e):
    """An encoder's outputs as d tokens of e numbers."""
    return [out[j * e : (j + 1) * e] for j in range(d)]


def squared(a, b):
    """The squared distance of two vectors."""
    return sum((a[n] - b[n]) ** 2 for n in range(len(a)))


def quantised(p, c, x, codebook, e):
    """MSE + quantisation and commitment, with the gradient straight through the nearest values."""
    inputs, quantisation, commitment = [], 0, 0
    for image in x:
        tokens = tokens_of(encoder(p, image), c.latents, e)
        rounded = []
        for j, token in enumerate(tokens):
            nearest = min(values_of(codebook, j), key=lambda value, token=token: squared(token, value).item())
            rounded.append(StraightThrough.apply(token, nearest.detach()))
            quantisation = quantisation + squared(token.detach(), nearest)
            commitment = commitment + squared(token, nearest.detach())
        inputs.append(torch.cat(rounded))
    count = len(x) * c.latents * e
    error = reconstruction_error(p, x, inputs)
    return error + c.quantisation_weight * quantisation / count + c.commitment_weight * commitment / count


def vq_vae(p, c, x, step, draws, n_train):
    return {"autoencoder": quantised(p, c, x, p["codebook"], c.embedding_dim)}


def qlae(p, c, x, step, draws, n_train):
    return {"autoencoder": quantised(p, c, x, p["codebooks"], 1)}


def fsq(p, c, x, step, draws, n_train):
    grid = [-1 + 2 * v / (c.symbols - 1) for v in range(c.symbols)]
    inputs = []
    for image in x:
        z = encoder(p, image)
        z = torch.tanh(z / torch.sqrt(sum(number * number for number in z) / c.latents + 1e-5))
        nearest = [min(grid, key=lambda value, number=number: abs(number - value)) for number in z.tolist()]
        inputs.append(StraightThrough.apply(z, torch.tensor(nearest, dtype=z.dtype)))
    return {"autoencoder": reconstruction_error(p, x, inputs)}


def log_softmax(logits):
    total = torch.log(sum(s.exp() for s in logits))
    return [s - total for s in logits]


def by_distance(p, c, x):
    """Log posteriors [image][latent][symbol]: log softmax of minus the squared distances to the codebook's values."""
    posteriors = []
    for image in x:
        rows = []
        for j, token in enumerate(tokens_of(encoder(p, image), c.latents, getattr(c, "embedding_dim", 1))):
            rows.append(log_softmax([-squared(token, value) for value in values_of(p["codebook"], j)]))
        posteriors.append(rows)
    return posteriors


def by_logits(p, c, x):
    """Log posteriors where the encoder gives a logit for every symbol of every latent."""
    return [[log_softmax(list(row)) for row in tokens_of(encoder(p, image), c.latents, c.symbols)] for image in x]


def soft_symbols(log_p, c, step, draws):
    """Gumbel-softmax samples [image][latent], each the weights of the symbols."""
    uniform = draws.uniform(len(log_p), c.latents, c.symbols)
    temperature = math.exp(-c.temperature_decay * step)
    samples = []
    for i, rows in enumerate(log_p):
        samples.append([])
        for j, row in enumerate(rows):
            gumbel = [-math.log(-math.log(uniform[i, j, v].item())) for v in range(c.symbols)]
            odds = [torch.exp((row[v] + gumbel[v]) / temperature) for v in range(c.symbols)]
            samples[i].append(torch.stack([o / sum(odds) for o in odds]))
    return samples


def mean_kl_to_uniform(log_p):
    """KL against 1/K each, summed over the K symbols, mean over images and latents."""
    total, count = 0, 0
    for rows in log_p:
        for row in rows:
            count += 1
            for s in row:
                total = total + s.exp() * (s - math.log(1 / len(row)))
    return total / count


def mixtures(weights, codebook):
    """The decoder's inputs: each latent's values averaged with its weights, side by side."""
    inputs = []
    for row in weights:
        parts = []
        for j, symbols in enumerate(row):
            parts.append(sum(w * value for w, value in zip(symbols, values_of(codebook, j), strict=True)))
        inputs.append(torch.cat(parts))
    return inputs


def soft_quantised(p, c, x, step, draws, log_posteriors):
    """MSE + kl_weight * KL and, with a discriminator, the game on the symbols' weights."""
    half = len(x) // 2 if getattr(c, "gamma", 0) else len(x)
    log_p = log_posteriors(p, c, x[:half])
    weights = soft_symbols(log_p, c, step, draws)
    error = reconstruction_error(p, x[:half], mixtures(weights, p["codebook"]))
    loss = error + c.kl_weight * mean_kl_to_uniform(log_p)
    if half == len(x):
        return {"autoencoder": loss}
    others = soft_symbols(log_posteriors(p, c, x[half:]), c, step, draws)
    return adversarial(p, c, loss, weights, others, draws)


def factor_qvae(p, c, x, step, draws, n_train):
    return soft_quantised(p, c, x, step, draws, by_distance)


def q_vae(p, c, x, step, draws, n_train):
    return soft_quantised(p, c, x, step, draws, by_distance)


def dvae(p, c, x, step, draws, n_train):
    return soft_quantised(p, c, x, step, draws, by_logits)


def factor_dvae(p, c, x, step, draws, n_train):
    return soft_quantised(p, c, x, step, draws, by_logits)


def tripod(p, c, x, step, draws, n_train):
    """Rounded codes, the multi-information of the batch and the curvature of conv64's hidden layers."""
    grid = [-1 + 2 * v / (c.symbols - 1) for v in range(c.symbols)]
    b, d, count = len(x), c.latents, 2
    continuous, codes = [], []
    for image in x:
        z = encoder(p, image)
        if c.quantise:
            if c.normalised:
                z = z / torch.sqrt(sum(number * number for number in z) / d + 1e-5)
            z = torch.tanh(z)
            nearest = [min(grid, key=lambda value, number=number: abs(number - value)) for number in z.tolist()]
            codes.append(StraightThrough.apply(z, torch.tensor(nearest, dtype=z.dtype)))
        continuous.append(z)
    codes = codes or continuous
    loss = reconstruction_error(p, x, codes)
    spread = []
    for k in range(d):
        mean = sum(z[k] for z in continuous) / b
        spread.append(torch.sqrt(sum((z[k] - mean) ** 2 for z in continuous) / b) + 1e-6)
    if c.klm_weight:
        loss = loss + c.klm_weight * multi_information(codes, spread)
    if c.nhp_weight:
        signs, normal = draws.uniform(count, b, d), draws.normal(count, b, d)
        penalty = 0
        for i in range(b):
            sign_moves = [[-0.1 if number < 0.5 else 0.1 for number in signs[t, i]] for t in range(count)]
            normal_moves = [[0.1 * number for number in normal[t, i]] for t in range(count)]
            ratios = []
            for kind in (sign_moves, normal_moves):
                moves = [torch.stack([m * s for m, s in zip(v, spread, strict=True)]) for v in kind]
                ratios.append(curvatures(p, codes[i], moves))
            for above, below in zip(*ratios, strict=True):
                penalty = penalty + above / (below + 1e-10) / b
        loss = loss + c.nhp_weight * penalty
    return {"autoencoder": loss}


def multi_information(codes, spread):
    """Mean log ratio of the kernel estimates of the joint density and of the product of the marginal ones."""
    b, d = len(codes), len(spread)
    factor = (4 / (d + 2)) ** (1 / (d + 4)) * b ** (-1 / (d + 4))

    def density(z, mean, deviation):
        return torch.exp(-((z - mean) ** 2) / (2 * deviation**2)) / (math.sqrt(2 * math.pi) * deviation)

    total = 0
    for i in range(b):
        joint, product = 0, 1
        for j in range(b):
            of_all = 1
            for k in range(d):
                of_all = of_all * density(codes[i][k], codes[j][k], spread[k] * factor)
            joint = joint + of_all / b
        for k in range(d):
            product = product * sum(density(codes[i][k], codes[j][k], spread[k]) for j in range(b)) / b
        total = total + torch.log(joint / product) / b
    return total


def hidden(p, z):
    """The outputs of the decoder's five activations, flat."""
    first, second, *convolutions = layers(p, "decoder")
    outputs = [torch.relu(first[0] @ z + first[1])]
    outputs.append(torch.relu(second[0] @ outputs[-1] + second[1]))
    side = math.isqrt(len(outputs[-1]) // 64)
    out = outputs[-1].reshape(64, side, side)
    for weight, bias in convolutions[:3]:
        out = torch.relu(F.conv_transpose2d(out[None], weight, bias, stride=2, padding=1)[0])
        outputs.append(out.flatten())
    return outputs


def curvatures(p, z, moves):
    """Of each hidden layer, the mean over its elements of the variance over moves of the second differences."""
    centre = hidden(p, z)
    differences = []
    for move in moves:
        plus, minus = hidden(p, z + move), hidden(p, z - move)
        differences.append([(a - 2 * m + b) / 0.01 for a, m, b in zip(plus, centre, minus, strict=True)])
    variances = []
    for of_layer in zip(*differences, strict=True):
        mean = sum(of_layer) / len(of_layer)
        variances.append((sum((difference - mean) ** 2 for difference in of_layer) / len(of_layer)).mean())
    return variances


def hfs(p, c, x, step, draws, n_train):
    means, log_variances, samples = gaussian_latents(p, c, x, draws)
    error = reconstruction_error(p, x, [torch.stack(z) for z in samples])
    all_pairs = [(i, j) for i in range(c.latents) for j in range(i + 1, c.latents)]
    (order,) = draws.orders(len(all_pairs), 1)
    pairs = [all_pairs[n] for n in order[: c.pairs]]
    rows = (draws.uniform(c.points, len(pairs), 2) * len(x)).int().tolist()
    support = 0
    for n, (i, j) in enumerate(pairs):
        distances = []
        for point in range(c.points):
            first, second = rows[point][n]
            distances.append(
                min((means[first][i] - mean[i]) ** 2 + (means[second][j] - mean[j]) ** 2 for mean in means)
            )
        support = support + max(distances)
    spread = 0
    for mean in means:
        spread = spread + (torch.relu(1 - max(mean)) + torch.relu(min(mean))) / len(x)
    loss = error + c.kl_weight * mean_kl(means, log_variances) + c.gamma * support + c.delta * spread
    return {"autoencoder": loss}

"""Spec of a run: model x dataset x protocol x seed, resolved to the last value. No torch here."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Whole = Annotated[int, Field(gt=-(2**63) - 1, lt=2**63)]
"""Whole number that every table and file format can hold.

Its lower bound is a ``gt``, because a field's own ``ge`` would be replaced by a ``ge`` here.
"""

Scalar = bool | Whole | float | str


def digest_of(content: Any) -> str:
    """Return SHA-256 (hexadecimal) of the canonical JSON: keys sorted, no spaces, shortest float representation."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Part(BaseModel):
    """Frozen, validated group of finite values; an unknown key is an error.

    ``LATER`` names fields that were added after the first records: digests leave them out where they have their
    defaults, because that is what older records mean.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


@functools.cache
def _later(kind: type[Part]) -> dict[str, Any]:
    """Return the defaults of the ``LATER`` fields of a class."""
    return {name: kind.model_fields[name].get_default(call_default_factory=True) for name in kind.LATER}


def as_before(part: Part) -> dict[str, Any]:
    """Return the ``LATER`` fields in and below ``part`` that have their defaults, in the form of pydantic's
    ``exclude``.
    """
    exclude: dict[str, Any] = {}
    later = _later(type(part))
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name in later and value == later[name]:
            exclude[name] = True
        elif isinstance(value, Part) and (below := as_before(value)):
            exclude[name] = below
    return exclude


class Data(Part):
    """Choices for the training images. ``correlation`` is ``none``, a named set of correlated pairs of factors, or
    pairs with their widths: see ``data.correlation``.
    """

    correlation: str = Field(default="none", max_length=1000)


class Training(Part):
    """Choices for the training of a model.

    One update of the autoencoder sees ``batch_size`` images; images that only a discriminator sees are additional. The
    learning rate falls along half a cosine from ``learning_rate`` at the first update to ``final_learning_rate`` at the
    last. If ``half_cosine`` is not 0, it reaches the latter that many updates after the first, and rises again in a
    longer run.

    ``clock`` is what a model's own schedules count: updates, or the steps of all optimisers, two per update with a
    discriminator. ``steps`` says whether players step ``together``, from the same weights, or ``in_turn``. ``split`` is
    ``fixed`` for all seeds or drawn by each ``seed``; with ``none`` every image is trained on. ``precision`` is that of
    the networks in training. ``reconstruction`` is the error that models minimise, a mean over pixels and channels:
    squared (``mse``), or cross-entropy of the images with the decoder's output as logits (``bce``). Each element of a
    gradient is clipped to at most ``gradient_clip`` in size; 0 clips nothing.
    """

    LATER = frozenset({"reconstruction", "gradient_clip"})

    network: str
    updates: Whole = Field(ge=1)
    batch_size: Whole = Field(ge=1)
    learning_rate: float = Field(gt=0)
    final_learning_rate: float = Field(ge=0)
    half_cosine: Whole = Field(default=0, ge=0)
    clock: Literal["updates", "optimiser_steps"] = "updates"
    steps: Literal["together", "in_turn"] = "together"
    split: Literal["fixed", "seed", "none"] = "fixed"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    reconstruction: Literal["mse", "bce"] = "mse"
    gradient_clip: float = Field(default=0.0, ge=0)


class Scoring(Part):
    """Choices for the scoring of a trained model: how many images, and which variant of each metric.

    The first ``train_images`` of the sample fit the metrics' predictors, and the other ``test_images`` test them.
    ``images`` are ``test``, those of the test split, the same for all seeds; ``validation``, those of the validation
    split, for choosing settings; or ``all``, drawn by each seed with replacement from the whole dataset, training
    images included. ``codes`` of Gaussian latents are posterior means or one ``sample``.
    """

    train_images: Whole = Field(ge=2)
    test_images: Whole = Field(ge=1)
    images: Literal["test", "validation", "all"] = "test"
    codes: Literal["mean", "sample"] = "mean"
    metrics: dict[str, str]


class File(Part):
    """A plug-in's file: its SHA-256 is its identity, its path only a remark."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


EXTERNAL = "external"
"""The only entry in ``RunSpec.changed`` for codes from elsewhere."""


class SearchPoint(Part):
    """Position of a run in a search for settings: the number of its point (0 is the default, which every search has),
    how and from which ``seed`` the point was drawn, and the version of the space.
    """

    point: Whole = Field(ge=0)
    seed: Whole = Field(default=0, ge=0)
    sampler: Literal["random", "tpe"] = "random"
    space_version: Whole = Field(ge=1)


class Tuning(Part):
    """How the settings of a run were selected: by which ``criterion``, among how many points (``budget``), and by which
    ``sampler`` and from which version of the space these were drawn.
    """

    criterion: str = Field(pattern=r"^[a-z0-9_.]{1,60}$")
    budget: Whole = Field(ge=1)
    sampler: Literal["random", "tpe"] = "random"
    space_version: Whole = Field(ge=1)

    def __str__(self) -> str:
        adaptive = "" if self.sampler == "random" else f" by {self.sampler}"
        return f"tuned by {self.criterion}, budget {self.budget}{adaptive}, space version {self.space_version}"


class Subject(Part):
    """Model, dataset and protocol, with their versions."""

    model: str
    model_version: Whole
    dataset: str
    dataset_version: Whole
    protocol: str
    protocol_version: Whole

    @property
    def subject(self) -> dict[str, str | int]:
        """Return these six values by name."""
        return {name: getattr(self, name) for name in Subject.model_fields}


class RunSpec(Subject):
    """Everything that decides a run's numbers on one machine; a run's identity is the digest of this, never of code.

    ``model``, ``dataset`` and ``protocol`` are names (or paths of files), each with its version, ``model_version``,
    ``dataset_version`` and ``protocol_version``; ``seed`` is a whole number. ``settings`` are the model's own,
    complete; ``data`` says which images training draws, ``training`` how it is done, ``scoring`` what is scored and by
    which metrics. ``changed`` lists the values that the user set differently from the protocol and the baseline: a
    record with any is off-protocol and is never ranked. It is ``("external",)`` for codes from elsewhere: their
    ``training`` is the protocol's, and nobody knows the real one. ``protocol_ranked`` says whether models may be ranked
    under a protocol that is not built in, whose name ends with digits of its digest. ``files`` are those of plug-ins in
    one file, by each plug-in's name in this spec. ``tuned`` says how the settings were selected, and ``search`` which
    point of a search the run is; both are None for other runs.

    Raises pydantic's ``ValidationError`` for unknown names and for values that are not allowed.
    """

    LATER = frozenset({"data", "protocol_ranked", "tuned"})

    seed: Whole = Field(ge=0)
    settings: dict[str, Scalar]
    data: Data = Data()
    training: Training
    scoring: Scoring
    changed: tuple[str, ...] = ()
    protocol_ranked: bool = False
    files: dict[str, File] = Field(default_factory=dict)
    tuned: Tuning | None = None
    search: SearchPoint | None = None

    def identity(self) -> dict[str, Any]:
        """Return the content from which the digest is made, in a form for JSON.

        Fields added later are left out where they have the value that was implied before, so that older records keep
        their digests. A dataset that is a file counts by its name and content (``dataset_version``), not by its folder.
        """
        content = self.model_dump(mode="json", exclude=as_before(self) | {"search": True})
        content["dataset"] = self.dataset_name
        files = content.pop("files")
        if files:
            content["files"] = {name: file["sha256"] for name, file in files.items()}
        return content

    @property
    def dataset_name(self) -> str:
        """Return the dataset's name; if it is a file, without its folder."""
        return self.dataset.rpartition("/")[2]

    @property
    def external(self) -> bool:
        """Return whether the codes come from elsewhere (``dbench import``)."""
        return self.changed == (EXTERNAL,)

    @property
    def departures(self) -> tuple[str, ...]:
        """Return what sets the run apart from the baseline under its protocol: how it was tuned, what was changed."""
        return (*([str(self.tuned)] if self.tuned else []), *self.changed)

    @property
    def digest(self) -> str:
        """Return the digest of what decides the run's numbers."""
        return digest_of(self.identity())

    @property
    def run_id(self) -> str:
        """Return the name of the run and its folder: readable parts, and ten digits of the digest that make it unique.

        If a part is the path of a file, only the file's name is used.
        """
        parts = [_file_name(part) for part in (self.dataset, self.protocol, self.model)]
        return "-".join([*parts, f"seed{self.seed}", self.digest[:10]])


def _file_name(text: str) -> str:
    """Return a name, or the last part of a path, as part of a file's name."""
    return re.sub(r"[^\w.-]", "_", text.rpartition("/")[2])[:60]


TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1
"""Shares of a dataset's images; the rest is the test split."""


def split_sizes(n: int) -> dict[str, int]:
    """Return the numbers of training, validation and test images of a dataset of n images."""
    train, validation = int(TRAIN_SHARE * n), int(VALIDATION_SHARE * n)
    return {"train": train, "validation": validation, "test": n - train - validation}


def seed_for(*parts: int | str) -> int:
    """Return a seed, a 63-bit hash of ``parts``, so that different purposes get independent streams.

    For the same run seed, all models get the same stream for the same purpose, such as the order of the images.
    """
    text = json.dumps(parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def flat(spec: RunSpec) -> dict[str, Any]:
    """Return the spec as one table of dotted keys (``training.updates``, ``model.gamma``), as ``--set`` spells them."""
    table: dict[str, Any] = {f"model.{key}": value for key, value in spec.settings.items()}
    if not spec.external:
        table |= {f"data.{key}": value for key, value in spec.data.model_dump().items()}
        table |= {f"training.{key}": value for key, value in spec.training.model_dump().items()}
    table |= {f"scoring.{key}": value for key, value in spec.scoring.model_dump().items() if key != "metrics"}
    return table | {f"scoring.metrics.{name}": variant for name, variant in spec.scoring.metrics.items()}


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation, on one line: the key, what was given, what is wrong."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {key!r}"
    if problem["type"] == "missing":
        return f"the setting {key!r} is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{key} = {_short(problem['input'])} is not allowed: {problem['msg'].lower()}"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of too many digits
        return "a value that cannot be shown"
    return text if len(text) <= 60 else f"{text[:60]} ..."

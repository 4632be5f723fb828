"""Settings: every one with its default, its bounds and a line of explanation, which `init` writes beside it.

settings = load_settings(Path("plugins.toml"))
settings.training.epochs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from ..article_types import check_types
from ..errors import SchemaError
from ..schema import LANGUAGE_TAG, ArticleType
from .head_names import HeadName

#: `BranchSettings.loss` where no plugin is asked for a loss.
STANDARD_LOSS: Final = "standard"

Depth = Literal["auto", "exit", "head", "block", "stage", "network"]
#: The depth of a branch without units: a head on the trunk's own features.
EXIT: Final = "exit"
#: The depth of a branch that shares nothing: a whole network.
NETWORK: Final = "network"
#: The depths of branches without units on the shared trunk, from which others could start.
NO_DONORS: Final = (EXIT, NETWORK)

#: `branch_at` where the backbone's last stage is meant.
AUTO: Final = "auto"
#: What `weights` begins with where it names a folder of config.json and model.safetensors, as timm writes one.
LOCAL_DIR: Final = "local-dir:"

#: Training settings that decide when to train and how fast, never what comes out.
NOT_IN_DIGEST: Final = {
    *("min_labels", "retrain_labels", "retrain_share", "retries"),
    *("workers", "device", "checkpoint_seconds", "tensorboard"),
}


def split_list(value: object) -> object:
    """Return "a, b" as ["a", "b"], so that a list can be written in an environment variable."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def weights_place(weights: str) -> tuple[str, str] | None:
    """Return `trunk -> weights` as ("", PATH) or ("local-dir:", FOLDER); None for hub, random and plugins' names."""
    if weights.startswith(LOCAL_DIR):
        return LOCAL_DIR, weights.removeprefix(LOCAL_DIR)
    is_path = weights.endswith(".safetensors") or "/" in weights or "\\" in weights
    return ("", weights) if is_path else None


def _like(pattern: re.Pattern[str], problem: str) -> BeforeValidator:
    """Return the check that a text is like `pattern`; other types are left to pydantic."""

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise ValueError(problem.format(value))
        return value

    return BeforeValidator(check)


_NOT_BLANK: Final = _like(re.compile(r".*\S.*", re.DOTALL), "must not be empty")
_DATABASE: Final = _like(
    re.compile(r"(sqlite(\+pysqlite)?|postgresql(\+psycopg)?)://.*", re.DOTALL),
    "must begin with sqlite:// or postgresql+psycopg://",
)
_LANGUAGE: Final = _like(LANGUAGE_TAG, "must be a language tag such as 'de' or 'pt-BR'")
_PIN: Final = _like(
    re.compile(r"[\w.-]+==[^\s=]+( sha256:[0-9a-f]{64})?|[^/]+\.py sha256:[0-9a-f]{64}"),
    '{!r} must be "NAME==VERSION", "NAME==VERSION sha256:DIGEST" or "FILE.py sha256:DIGEST"; '
    "`attributree plugins list` says which",
)

_HOST_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def _private(value: object) -> object:
    """Return an entry of `images -> allow_private` in lower case, checked; other types are left to pydantic."""
    if not isinstance(value, str):
        return value
    value = value.strip().lower().strip("[]")
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        if _HOST_NAME.fullmatch(value):
            return value
    raise ValueError(f"{value!r} must be an address, a network such as 10.0.0.0/8, or the name of a host")


Text = Annotated[str, _NOT_BLANK]
Folder = Annotated[Path, _NOT_BLANK]
Names = Annotated[tuple[Text, ...], BeforeValidator(split_list)]
Languages = Annotated[tuple[Annotated[str, _LANGUAGE], ...], BeforeValidator(split_list)]
Pin = Annotated[str, _PIN]
Scheme = Literal["https", "http", "s3", "gs"]
Private = Annotated[str, BeforeValidator(_private)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class CatalogSettings(_Section):
    """Where the catalogue and what belongs to it are kept."""

    database: Annotated[str, _DATABASE] = Field(default="sqlite:///attributree.db", repr=False)  # may hold a password
    """The catalogue: sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME for a team."""
    artifacts: Folder = Path("artifacts")
    """Folder of trained parts and manifests; back it up."""
    cache: Folder = Path("cache")
    """Folder of decoded pixels and trunk activations; may be deleted."""
    cache_gigabytes: float = Field(default=100.0, gt=0)
    """Most that the cache may hold; what was not used for longest goes first."""
    auto_attributes: bool = False
    """Declare an attribute for each column that no plugin declares and that looks like one."""
    mine_text: bool = False
    """Read labels off titles and descriptions whenever the catalogue is synced."""
    languages: Languages = ()
    """Language tags of the translations that are mined, such as ["de", "fr"]; empty: all."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds to wait for a locked or unreachable database."""


class ImagesSettings(_Section):
    """How images are fetched whose cells are URLs. A file:// URL is a path, and counts as one."""

    schemes: Annotated[tuple[Scheme, ...], BeforeValidator(split_list)] = ("https", "s3", "gs")
    """Kinds of URLs that are fetched; "http" may be added, but nothing vouches for what arrives that way."""
    allow_private: Annotated[tuple[Private, ...], BeforeValidator(split_list)] = ()
    """Private or loopback addresses, networks or names of hosts that may be asked, such as ["10.0.0.0/8"]."""
    timeout: float = Field(default=10.0, gt=0, le=600)
    """Seconds to wait for a connection, or for the next byte."""
    max_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Most seconds that one image may take to arrive."""
    max_megabytes: float = Field(default=32.0, gt=0, le=64)
    """Most that one image may be."""
    retries: int = Field(default=2, ge=0, le=20)
    """How often an image is asked for again that did not arrive."""
    connections: int = Field(default=16, ge=1, le=256)
    """Images that are fetched at the same time."""
    cache_gigabytes: float = Field(default=10.0, gt=0)
    """Most that fetched files may take in the cache, beside `catalog -> cache_gigabytes`; oldest use goes first."""


class TrunkSettings(_Section):
    """The shared lower part of the network. Changing it retrains every branch."""

    backbone: Text = "resnet34"
    """Any timm model with stages or blocks."""
    weights: Text = "hub"
    """"hub" (downloaded by timm), "random", a plugin's name such as "efficientnet-lite0", a path to a safetensors
    file, or "local-dir:FOLDER"; `attributree weights list` says what can be had."""
    image_size: int = Field(default=224, ge=32, le=1024)
    """Side of the square that images are fitted into, pixels."""
    branch_at: Text = "auto"
    """The first stage that a branch owns; all before it is the trunk. "auto": the backbone's last."""


class TrainingSettings(_Section):
    """How branches are trained, accepted and retrained."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of every random choice; the same seed, the same branch."""
    epochs: int = Field(default=20, ge=1, le=10_000)
    """Most epochs to train; early stopping usually ends sooner."""
    min_labels: int = Field(default=50, ge=1)
    """Labelled images that an attribute needs before it is trained."""
    batch_size: int = Field(default=32, ge=2, le=65_536)
    """Images in one training step."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Peak learning rate of a branch and its head."""
    budget_minutes: float = Field(default=5.0, ge=0, le=100_000)
    """Most minutes that `depth = "auto"` may train units of one depth for, as it forecasts them; 0: heads alone."""
    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation score before training stops."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all values."""
    class_balance: bool = True
    """Weigh rare values up in the loss."""
    target_precision: float = Field(default=0.9, gt=0, le=1)
    """Target precision of accepted predictions; the less certain go to review."""
    min_calibration_labels: int = Field(default=200, ge=1)
    """Labelled images needed to trust a confidence; with fewer everything goes to review."""
    min_gain: float = Field(default=0.0, ge=0, le=100)
    """Points of macro-F1 that a new branch must gain over always giving the commonest value."""
    max_loss: float = Field(default=0.5, ge=0, le=100)
    """Points of macro-F1 that an attribute may lose when its branch is replaced."""
    retrain_labels: int = Field(default=50, ge=1)
    """Retrain after this many new labels, or `retrain_share` if that is more."""
    retrain_share: float = Field(default=0.10, ge=0, le=1)
    """New labels that make a retraining due, as a share of those trained on."""
    retries: int = Field(default=3, ge=0)
    """How often a training that an outside fault (disk, database) ended is tried again by itself."""
    distill: float = Field(default=1.0, ge=0, le=100)
    """Weight, in a finetune, of staying near what the live tree says."""
    flip: bool = True
    """Mirror images at random; off for attributes that tell left from right."""
    crop: bool = True
    """Shift images a little at random where trunk and branches train together; off for lengths."""
    workers: int = Field(default=0, ge=0, le=1024)
    """Threads that decode images; 0 for one a core."""
    device: Text = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """"auto" (bfloat16 on GPUs that have it), "float32" or "bfloat16"."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Least seconds between two checkpoints of a training that is under way."""
    tensorboard: str = ""
    """Folder for TensorBoard's event files; empty for none."""


class ArticleTypeSettings(_Section):
    """What the shop calls an article type; it comes before what plugins know. See `attributree types`."""

    words: Names = ()
    """What the shop calls it."""
    below: Names = ()
    """The types that it is one of: what applies to them applies to it. Empty: what plugins say."""


def _words_alone(value: object) -> object:
    return {"words": value} if isinstance(value, str | list | tuple) else value


def _one_type_a_word(types: dict[str, ArticleTypeSettings]) -> dict[str, ArticleTypeSettings]:
    """Raise ValueError if a word stands under two types, or a type below itself."""
    try:
        check_types(table_of(types))
    except SchemaError as error:
        raise ValueError(str(error)) from None
    return types


def table_of(types: Mapping[str, ArticleTypeSettings]) -> tuple[ArticleType, ...]:
    """Return [article_types] as declarations. Raises SchemaError."""
    return tuple(ArticleType(name, one.words, one.below) for name, one in types.items())


ArticleTypeTable = Annotated[
    dict[Text, Annotated[ArticleTypeSettings, BeforeValidator(_words_alone)]], AfterValidator(_one_type_a_word)
]


class PluginSettings(_Section):
    """Which plugins are used. Installed ones are found by themselves."""

    disabled: Names = ()
    """Plugins or distributions to leave out, without importing them."""
    require: Names = ()
    """Plugins or distributions that must work, or every command fails."""
    plugin_dirs: Annotated[tuple[Folder, ...], BeforeValidator(split_list)] = ()
    """Folders whose *.py files are plugins too."""
    allow: Annotated[tuple[Pin, ...], BeforeValidator(split_list)] = ()
    """The only plugins to import, if any are named: "NAME==VERSION", "NAME==VERSION sha256:DIGEST" of its
    RECORD, or "FILE.py sha256:DIGEST"."""
    strict: bool = False
    """Fail if any plugin is broken, as the option --strict does."""


class AttributeSettings(_Section):
    """What is different for one attribute; what is left out comes from [training]."""

    depth: Depth = "auto"
    """What the branch is above the trunk: "auto" (measured), "exit", "head", "block", "stage" or "network"."""
    head: HeadName | None = Field(default=None, examples=["multiscale"])
    """Instead of the plugin's: "linear", "multiscale", "attention", "ordinal" or "multilabel"."""
    epochs: int | None = Field(default=None, ge=1, le=10_000, examples=[30])
    """Most epochs to train."""
    min_labels: int | None = Field(default=None, ge=1, examples=[100])
    """Labelled images needed before it is trained."""
    budget_minutes: float | None = Field(default=None, ge=0, le=100_000, examples=[60.0])
    """Most minutes that units of one depth may be trained for."""
    target_precision: float | None = Field(default=None, gt=0, le=1, examples=[0.95])
    """Precision of accepted predictions."""
    flip: bool | None = Field(default=None, examples=[False])
    """Mirror images at random."""
    crop: bool | None = Field(default=None, examples=[False])
    """Shift images a little at random."""


class SourceSettings(_Section):
    """How far a source of labels is believed; one that is not named here, as far as `import` is."""

    rank: int | None = Field(default=None, ge=-1000, le=1000, examples=[2])
    """Only the highest rank that said something readable counts."""
    weight: float | None = Field(default=None, gt=0, le=1000, examples=[1.0])
    """What its labels count in training."""


class BranchSettings(TrainingSettings):
    """The training settings of one attribute, with what [attributes.NAME] and plugins change.

    `loss` names whose loss it is: "standard", or the plugins that are asked for one.
    """

    depth: Depth = "auto"
    head: HeadName | None = None
    loss: str = STANDARD_LOSS


class Settings(_Section):
    """Every setting. Paths are absolute when they come from `load_settings`."""

    catalog: CatalogSettings = CatalogSettings()
    images: ImagesSettings = ImagesSettings()
    trunk: TrunkSettings = TrunkSettings()
    training: TrainingSettings = TrainingSettings()
    plugins: PluginSettings = PluginSettings()
    article_types: ArticleTypeTable = Field(default_factory=dict)
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    attributes: dict[str, AttributeSettings] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _home: Path | None = PrivateAttr(default=None)

    def beside(self, folder: Path, *, configured: bool = True) -> Settings:
        """Return the settings as those of `folder`, where there is a configuration file if they are `configured`."""
        settings = self.model_copy()
        settings._folder = folder
        settings._home = folder if configured else None
        return settings

    @property
    def home(self) -> Path | None:
        """The folder of the configuration file, which a project is moved with; None if there was none."""
        return self._home

    @property
    def folder(self) -> Path:
        """The folder of the configuration file, or the one that was current when there was none."""
        return self._folder

    def trust_changes(self) -> dict[str, dict[str, Any]]:
        """Return what [sources.NAME] changes, by source."""
        return {name: source.model_dump(exclude_none=True) for name, source in self.sources.items()}

    def trunk_identity(self) -> dict[str, Any]:
        """Return the trunk's settings as manifests hold them.

        A weights file below the configuration's folder counts as relative, so a project may be moved.
        """
        trunk = self.trunk.model_dump()
        prefix, place = weights_place(self.trunk.weights) or ("", "")
        path = Path(place)
        if path.is_absolute() and path.is_relative_to(self.folder):
            trunk["weights"] = prefix + path.relative_to(self.folder).as_posix()
        return trunk

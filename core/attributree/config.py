"""Settings: plugins.toml, the environment and the command line, checked and merged.

    settings = load_settings(Path("plugins.toml"))
    settings.for_attribute("shape").epochs

An option wins over the environment (`ATTRIBUTREE_TRAINING__EPOCHS=5`), that over the file, that over the default.
Relative paths in the file are relative to the file's folder; in the environment and in options, to the current one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from .errors import ConfigError
from .head_names import HeadName
from .hookspecs import Augmentation
from .schema import LANGUAGE_TAG

FILE_NAME: Final = "plugins.toml"
PREFIX: Final = "ATTRIBUTREE_"
#: Environment variables that are no settings.
NOT_SETTINGS: Final = frozenset({"ATTRIBUTREE_CONFIG", "ATTRIBUTREE_TRACE_PLUGINS"})

#: `BranchSettings.loss` where no plugin is asked for a loss.
STANDARD_LOSS: Final = "standard"

Depth = Literal["auto", "exit", "head", "block", "stage"]
#: The depth of a branch without units: a head on the trunk's own features.
EXIT: Final = "exit"

#: Training settings that decide when to train and how fast, never what comes out.
NOT_IN_DIGEST: Final = {
    *("min_labels", "retrain_labels", "retrain_share", "retries"),
    *("workers", "device", "checkpoint_seconds", "tensorboard"),
}
_DATABASE: Final = re.compile(r"^(sqlite(\+pysqlite)?|postgresql(\+psycopg)?)://")
_PIN: Final = re.compile(r"^([\w.-]+==[^\s=]+( sha256:[0-9a-f]{64})?|[^/]+\.py sha256:[0-9a-f]{64})$")
_SQLITE_FILE: Final = re.compile(r"^(sqlite(?:\+\w+)?:///)([^?]+)(.*)$", re.DOTALL)


def _split(value: object) -> object:
    """Return "a, b" as ["a", "b"], so that a list can be written in an environment variable."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _database(value: object) -> object:
    if isinstance(value, str) and not _DATABASE.match(value):
        raise ValueError("must begin with sqlite:// or postgresql+psycopg://")
    return value


def _not_blank(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


def _language(value: str) -> str:
    if not LANGUAGE_TAG.fullmatch(value):
        raise ValueError("must be a language tag such as 'de' or 'pt-BR'")
    return value


def _pin(value: object) -> object:
    if isinstance(value, str) and not _PIN.match(value):
        raise ValueError(
            f'{value!r} must be "NAME==VERSION", "NAME==VERSION sha256:DIGEST" or "FILE.py sha256:DIGEST"; '
            "`attributree plugins list` says which"
        )
    return value


Text = Annotated[str, BeforeValidator(_not_blank)]
Folder = Annotated[Path, BeforeValidator(_not_blank)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_split)]
Languages = Annotated[tuple[Annotated[str, AfterValidator(_language)], ...], BeforeValidator(_split)]
Pin = Annotated[str, BeforeValidator(_pin)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CatalogSettings(_Section):
    """Where the catalogue and what belongs to it are kept."""

    database: Annotated[str, BeforeValidator(_database)] = Field(
        default="sqlite:///attributree.db",
        description="The catalogue: sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME for a team.",
        repr=False,  # may hold a password
    )
    artifacts: Folder = Field(
        default=Path("artifacts"), description="Folder of trained parts and manifests; back it up."
    )
    cache: Folder = Field(
        default=Path("cache"), description="Folder of decoded pixels and trunk activations; may be deleted."
    )
    cache_gigabytes: float = Field(
        default=100.0, gt=0, description="Most that the cache may hold; what was not used for longest goes first."
    )
    auto_attributes: bool = Field(
        default=False,
        description="Declare an attribute for each column that no plugin declares and that looks like one.",
    )
    mine_text: bool = Field(
        default=False, description="Read labels off titles and descriptions whenever the catalogue is synced."
    )
    languages: Languages = Field(
        default=(), description='Language tags of the translations that are mined, such as ["de", "fr"]; empty: all.'
    )
    timeout: float = Field(
        default=30.0, gt=0, le=3600, description="Seconds to wait for a locked or unreachable database."
    )


class TrunkSettings(_Section):
    """The shared lower part of the network. Changing it retrains every branch."""

    backbone: Text = Field(default="resnet34", description="Any timm model with stages.")
    weights: Text = Field(
        default="hub", description='"hub" (downloaded by timm), "random", or a path to a safetensors file.'
    )
    image_size: int = Field(
        default=224, ge=32, le=1024, description="Side of the square that images are fitted into, pixels."
    )
    branch_at: Text = Field(
        default="layer4", description="The first stage that a branch owns; all before it is the trunk."
    )


class TrainingSettings(_Section):
    """How branches are trained, accepted and retrained."""

    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of every random choice; the same seed, the same branch."
    )
    epochs: int = Field(
        default=20, ge=1, le=10_000, description="Most epochs to train; early stopping usually ends sooner."
    )
    min_labels: int = Field(
        default=50, ge=1, description="Labelled images that an attribute needs before it is trained."
    )
    batch_size: int = Field(default=32, ge=2, le=65_536, description="Images in one training step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Peak learning rate of a branch and its head.")
    patience: int = Field(
        default=5, ge=1, description="Epochs without a better validation score before training stops."
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all values.")
    class_balance: bool = Field(default=True, description="Weigh rare values up in the loss.")
    target_precision: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Precision that accepted predictions shall have; the less certain go to review.",
    )
    min_calibration_labels: int = Field(
        default=200,
        ge=1,
        description="Labelled images needed to trust a confidence; with fewer everything goes to review.",
    )
    min_gain: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Points of macro-F1 that a new branch must gain over always giving the commonest value.",
    )
    max_loss: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Points of macro-F1 that an attribute may lose when its branch is replaced.",
    )
    retrain_labels: int = Field(
        default=50, ge=1, description="Retrain after this many new labels, or `retrain_share` if that is more."
    )
    retrain_share: float = Field(
        default=0.10, ge=0, le=1, description="New labels that make a retraining due, as a share of those trained on."
    )
    retries: int = Field(
        default=3,
        ge=0,
        description="How often a training that an outside fault (disk, database) ended is tried again by itself.",
    )
    distill: float = Field(
        default=1.0, ge=0, le=100, description="Weight, in a finetune, of staying near what the live tree says."
    )
    flip: bool = Field(
        default=True, description="Mirror images at random; off for attributes that tell left from right."
    )
    crop: bool = Field(
        default=True,
        description="Shift images a little at random where trunk and branches train together; off for lengths.",
    )
    workers: int = Field(default=0, ge=0, le=1024, description="Threads that decode images; 0 for one a core.")
    device: Text = Field(default="auto", description='"auto", "cpu", "cuda", "cuda:1" or "mps".')
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description='"auto" (bfloat16 on GPUs that have it), "float32" or "bfloat16".'
    )
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="Least seconds between two checkpoints of a training that is under way."
    )
    tensorboard: str = Field(default="", description="Folder for TensorBoard's event files; empty for none.")


class PluginSettings(_Section):
    """Which plugins are used. Installed ones are found by themselves."""

    disabled: Names = Field(default=(), description="Plugins or distributions to leave out, without importing them.")
    require: Names = Field(default=(), description="Plugins or distributions that must work, or every command fails.")
    plugin_dirs: Annotated[tuple[Folder, ...], BeforeValidator(_split)] = Field(
        default=(), description="Folders whose *.py files are plugins too."
    )
    allow: Annotated[tuple[Pin, ...], BeforeValidator(_split)] = Field(
        default=(),
        description='The only plugins to import, if any are named: "NAME==VERSION", "NAME==VERSION sha256:DIGEST" '
        'of its RECORD, or "FILE.py sha256:DIGEST".',
    )
    strict: bool = Field(default=False, description="Fail if any plugin is broken, as the option --strict does.")


class AttributeSettings(_Section):
    """What is different for one attribute; what is left out comes from [training]."""

    depth: Depth = Field(
        default="auto",
        description='What the branch is above the trunk: "auto" (measured), "exit", "head", "block" or "stage".',
    )
    head: HeadName | None = Field(
        default=None,
        description='Instead of the plugin\'s: "linear", "multiscale", "attention", "ordinal" or "multilabel".',
    )
    epochs: int | None = Field(default=None, ge=1, le=10_000, description="Most epochs to train.")
    min_labels: int | None = Field(default=None, ge=1, description="Labelled images needed before it is trained.")
    target_precision: float | None = Field(default=None, gt=0, le=1, description="Precision of accepted predictions.")
    flip: bool | None = Field(default=None, description="Mirror images at random.")
    crop: bool | None = Field(default=None, description="Shift images a little at random.")


class SourceSettings(_Section):
    """How far a source of labels is believed; one that is not named here, as far as `import` is."""

    rank: int | None = Field(
        default=None, ge=-1000, le=1000, description="Only the highest rank that said something readable is heard."
    )
    weight: float | None = Field(default=None, gt=0, le=1000, description="What its labels count in training.")


#: Sections that hold a section for each name.
_NAMED: Final[Mapping[str, type[_Section]]] = {"attributes": AttributeSettings, "sources": SourceSettings}


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
    trunk: TrunkSettings = TrunkSettings()
    training: TrainingSettings = TrainingSettings()
    plugins: PluginSettings = PluginSettings()
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    attributes: dict[str, AttributeSettings] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _losses: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _augmentations: Mapping[str, Augmentation] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the configuration file, or the one that was current when there was none."""
        return self._folder

    def for_attribute(self, name: str) -> BranchSettings:
        """Return the training settings of attribute `name`."""
        own = self.attributes.get(name, AttributeSettings()).model_dump(exclude_none=True)
        recipe = BranchSettings(**{**self.training.model_dump(), **own})
        allowed = self._augmentations.get(name, Augmentation())
        said: dict[str, str | bool] = {"loss": self._losses.get(name) or STANDARD_LOSS}
        said |= {"flip": recipe.flip and allowed.flip, "crop": recipe.crop and allowed.crop}
        return recipe.model_copy(update=said)

    def with_plugins(self, losses: Mapping[str, str], augmentations: Mapping[str, Augmentation]) -> Settings:
        """Return the settings with what plugins say about training attributes: whose loss, and what images allow.

        A setting can switch an augmentation off, never on where the plugin says that it is wrong.
        """
        settings = self.model_copy()
        settings._losses, settings._augmentations = dict(losses), dict(augmentations)
        return settings

    def trust_changes(self) -> dict[str, dict[str, Any]]:
        """Return what [sources.NAME] changes, by source."""
        return {name: source.model_dump(exclude_none=True) for name, source in self.sources.items()}

    def trunk_identity(self) -> dict[str, Any]:
        """Return the trunk's settings as manifests hold them.

        A weights file below the configuration's folder counts as relative, so a project may be moved.
        """
        trunk = self.trunk.model_dump()
        weights = Path(self.trunk.weights)
        if weights.is_absolute() and weights.is_relative_to(self.folder):
            trunk["weights"] = weights.relative_to(self.folder).as_posix()
        return trunk

    def digest_for(self, name: str) -> str:
        """Return the SHA-256 of every setting that changes the outcome of training attribute `name`.

        Left out: what decides when to train (`min_labels`, `retrain_*`) or how fast (`workers`, `device`).
        """
        training = self.for_attribute(name).model_dump(exclude=NOT_IN_DIGEST)
        return hashlib.sha256(json.dumps([self.trunk_identity(), training], sort_keys=True).encode()).hexdigest()


def load_settings(
    path: Path | str | None = None,
    *,
    database: str | None = None,
    environ: Mapping[str, str] | None = None,
    required: bool = True,
) -> Settings:
    """Return the merged settings. Raises ConfigError listing every problem as `section -> key: message`.

    `path` defaults to $ATTRIBUTREE_CONFIG, then to ./plugins.toml; with neither there, ConfigError, or the defaults
    if not `required`. `database` is the option of that name. `environ` defaults to the process's environment.
    """
    environ = os.environ if environ is None else environ
    file = _find(path, environ, required)
    folder = file.parent if file else Path.cwd()
    origins: dict[tuple[str, ...], str] = {}  # location -> the variable or option that set it

    merged = _anchored(_read(file), folder) if file else {}
    for location, variable, text in _from_environment(environ):
        origins[location] = variable
        _put(merged, location, text, Path.cwd())
    if database is not None:
        origins["catalog", "database"] = "--database"
        _put(merged, ("catalog", "database"), database, Path.cwd())

    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        lines = list(dict.fromkeys(_problem(detail, origins) for detail in error.errors(include_url=False)))
        between = "\n  " if len(lines) > 1 else " "
        raise ConfigError(between.join([f"{file or 'settings'}:", *lines])) from None
    # The defaults are relative too, and nobody wrote them: they lie beside the file.
    settings = Settings.model_validate(_anchored(settings.model_dump(), folder))
    settings._folder = folder
    return settings


def anchor_database(url: str) -> str:
    """Return a database URL with a relative SQLite file made absolute, from the current folder."""
    anchored: str = _anchored({"catalog": {"database": url}}, Path.cwd())["catalog"]["database"]
    return anchored


# --- where settings come from ------------------------------------------------------------------------------------


def _find(path: Path | str | None, environ: Mapping[str, str], required: bool) -> Path | None:
    """Return the absolute path of the configuration file, or None if there is none and none is needed."""
    named = environ.get("ATTRIBUTREE_CONFIG") if path is None else None
    if path is None and not named:
        if (here := Path.cwd() / FILE_NAME).is_file():
            return here
        if required:
            raise ConfigError(f"no {FILE_NAME} here: run `attributree init`, or give --config PATH")
        return None
    file = (Path.cwd() / (path or named or "")).resolve()
    if file.is_dir():
        file /= FILE_NAME
    if not file.is_file():
        where = " (from $ATTRIBUTREE_CONFIG)" if named else ""
        raise ConfigError(f"no configuration at {file}{where}: run `attributree init`, or give another --config PATH")
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))  # -sig: editors on Windows write a mark
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield (location, variable, text) for each variable that is a setting. An empty one counts as not set."""
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable.upper() in NOT_SETTINGS or not text:
            continue
        names = variable[len(PREFIX) :].split("__")
        # ATTRIBUTREE_SOMETHING may be another program's; with `__` in it, it is meant for us.
        if len(names) == 1 and names[0].lower() not in Settings.model_fields:
            continue
        # A name in mixed case is meant as it is written; SHAPE is shape.
        kept = 1 if names[0].lower() in _NAMED and not "".join(names[1:2]).isupper() else None
        yield tuple(name if i == kept else name.lower() for i, name in enumerate(names)), variable, text


def _put(tree: dict[str, Any], location: tuple[str, ...], text: str, folder: Path) -> None:
    """Set one value in the nested dictionary, with its relative path resolved against `folder`."""
    value: Any = text
    for key in reversed(location):
        value = {key: value}
    _merge(tree, _anchored(value, folder))


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _anchored(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return `tree` with its relative paths made absolute below `folder`. What is no path is left for the checks."""

    def absolute(path: str | Path) -> str:
        return os.path.normpath(folder / os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser can raise

    def database(url: str) -> str:
        match = _SQLITE_FILE.match(url)
        if not match or match[2] == ":memory:" or match[2].startswith("file:"):
            return url
        return f"{match[1]}{absolute(match[2])}{match[3]}"

    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, key, change in (
        ("catalog", "database", database),
        ("catalog", "artifacts", absolute),
        ("catalog", "cache", absolute),
        ("trunk", "weights", lambda text: text if text in ("hub", "random") else absolute(text)),
        ("training", "tensorboard", absolute),
    ):
        table = tree.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), (str, Path)) and str(table[key]).strip():
            table[key] = change(table[key])
    plugins = tree.get("plugins")
    if isinstance(plugins, dict) and isinstance(folders := _split(plugins.get("plugin_dirs")), (list, tuple)):
        plugins["plugin_dirs"] = [absolute(f) if isinstance(f, (str, Path)) and str(f).strip() else f for f in folders]
    return tree


# --- what is wrong with them -------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, origins: Mapping[tuple[str, ...], str]) -> str:
    """Return one validation error as `section -> key: message`, with the variable or option it came from."""
    location = tuple(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if detail["type"] == "extra_forbidden":
        *outer, key = location
        known = list(_model_at(tuple(outer)).model_fields)
        near = get_close_matches(key.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        message = f"unknown {'key' if outer else 'section'}; {hint}"
    elif detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = f"must be a section, [{'.'.join(location)}]"
    elif detail["type"] == "path_type":
        message = "must be a path"  # pydantic's words name the Python class
    origin = next((name for place, name in origins.items() if all(map(str.__eq__, place, location))), None)
    return f"{' -> '.join(location)}{f' (from {origin})' if origin else ''}: {message}"


def _model_at(location: tuple[str, ...]) -> type[BaseModel]:
    """Return the section that stands at a location of the tree."""
    if not location:
        return Settings
    if location[0] in _NAMED:
        return _NAMED[location[0]]
    model = Settings.model_fields[location[0]].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


# --- the commented example ---------------------------------------------------------------------------------------


def render_default_toml(database: str | None = None) -> str:
    """Return a plugins.toml with every setting, its default and what it does, as `attributree init` writes it."""
    lines = [
        "# attributree's configuration. Relative paths are relative to this file's folder.",
        "# Every setting can come from the environment too, for example ATTRIBUTREE_TRAINING__EPOCHS=5.",
    ]
    for name in ("catalog", "trunk", "training", "plugins"):
        section = getattr(Settings(), name)
        lines += ["", *_comment(type(section).__doc__), f"[{name}]"]
        for key, info in type(section).model_fields.items():
            value = database if database and (name, key) == ("catalog", "database") else getattr(section, key)
            lines += [*_comment(info.description), f"{key} = {_toml(value)}"]
    lines += ["", *_comment(SourceSettings.__doc__), "# [sources.review]"]
    for (key, info), value in zip(SourceSettings.model_fields.items(), (2, 1.0), strict=True):
        lines.append(f"# {f'{key} = {value}':<24} # {info.description}")
    lines += ["", *_comment(AttributeSettings.__doc__), "# [attributes.shape]"]
    examples = {
        "head": "multiscale",
        "epochs": 30,
        "min_labels": 100,
        "target_precision": 0.95,
        "flip": False,
        "crop": False,
    }
    for key, info in AttributeSettings.model_fields.items():
        value = examples.get(key, info.default)
        lines.append(f"# {f'{key} = {_toml(value)}':<24} # {info.description}")
    return "\n".join(lines) + "\n"


def _comment(text: str | None) -> list[str]:
    return textwrap.wrap(text or "", 100, initial_indent="# ", subsequent_indent="# ")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    # A JSON string is a TOML basic string, save that TOML wants DEL escaped as well.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

"""Settings: where they come from, which wins, and how every mistake is named."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from attributree import ArticleType
from attributree.database.engine import parse_url, sqlite_file
from attributree.errors import ConfigError
from attributree.labels.resolve import TRUST
from attributree.settings.file import anchor_database, load_settings, render_default_toml
from attributree.settings.models import (
    ArticleTypeSettings,
    AttributeSettings,
    BranchSettings,
    CatalogSettings,
    PluginSettings,
    Settings,
    SourceSettings,
    TrainingSettings,
    TrunkSettings,
    table_of,
)
from attributree.settings.recipes import Recipes

SECTIONS: tuple[type[BaseModel], ...] = (
    CatalogSettings,
    TrunkSettings,
    TrainingSettings,
    PluginSettings,
    ArticleTypeSettings,
    AttributeSettings,
    SourceSettings,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an empty one, which is not the configuration's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("ATTRIBUTREE_CONFIG", "ATTRIBUTREE_CATALOG__DATABASE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The configuration's folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def write(folder: Path, text: str) -> Path:
    path = folder / "plugins.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str = "", **environ: str) -> Settings:
    return load_settings(write(folder, text), environ=environ)


def problems(folder: Path, text: str = "", **environ: str) -> list[str]:
    """Return the complaints about a configuration: one follows the file's name, several stand below it."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    head, said = f"{folder / 'plugins.toml'}:", str(caught.value)
    assert said.startswith(head)
    lines = [line.strip() for line in said.removeprefix(head).strip().splitlines()]
    assert ("\n" in said) == (len(lines) > 1)
    return lines


# --- precedence --------------------------------------------------------------------------------------------------


def test_a_default_yields_to_the_file_that_to_the_environment_and_that_to_the_option(shop: Path) -> None:
    path = write(shop, "")
    assert load_settings(path, environ={}).catalog.database == f"sqlite:///{shop}/attributree.db"
    path = write(shop, '[catalog]\ndatabase = "sqlite:////file.db"')
    assert load_settings(path, environ={}).catalog.database == "sqlite:////file.db"
    environ = {"ATTRIBUTREE_CATALOG__DATABASE": "sqlite:////environment.db"}
    assert load_settings(path, environ=environ).catalog.database == "sqlite:////environment.db"
    settings = load_settings(path, environ=environ, database="sqlite:////option.db")
    assert settings.catalog.database == "sqlite:////option.db"


def test_the_environment_changes_one_key_and_leaves_the_rest_of_its_section(shop: Path) -> None:
    settings = load(shop, "[training]\nepochs = 7\nseed = 3", ATTRIBUTREE_TRAINING__EPOCHS="9")
    assert (settings.training.epochs, settings.training.seed, settings.training.batch_size) == (9, 3, 32)


def test_every_kind_of_value_can_come_from_the_environment(shop: Path) -> None:
    settings = load(
        shop,
        ATTRIBUTREE_TRAINING__CLASS_BALANCE="false",
        ATTRIBUTREE_TRAINING__LEARNING_RATE="3e-4",
        ATTRIBUTREE_PLUGINS__DISABLED="one, two",
        ATTRIBUTREE_ATTRIBUTES__NECKLINE__DEPTH="head",
        ATTRIBUTREE_ATTRIBUTES__NECKLINE__MIN_LABELS="12",
        ATTRIBUTREE_ATTRIBUTES__SleeveKind__EPOCHS="4",
        attributree_training__seed="5",
    )
    assert settings.training.class_balance is False
    assert settings.training.learning_rate == 3e-4
    assert settings.training.seed == 5
    assert settings.plugins.disabled == ("one", "two")
    assert settings.attributes["neckline"] == AttributeSettings(depth="head", min_labels=12)
    assert settings.attributes["SleeveKind"].epochs == 4


def test_an_empty_variable_and_those_of_other_programs_are_no_settings(shop: Path) -> None:
    settings = load(
        shop,
        ATTRIBUTREE_TRAINING__EPOCHS="",
        ATTRIBUTREE_CONFIG="/nowhere.toml",
        ATTRIBUTREE_TRACE_PLUGINS="1",
        ATTRIBUTREE_SOMETHING="else",
        EPOCHS="3",
    )
    assert settings.training.epochs == 20


def test_the_processes_environment_is_the_default(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTREE_TRAINING__EPOCHS", "11")
    assert load_settings(write(shop, "")).training.epochs == 11


# --- finding the file --------------------------------------------------------------------------------------------


def test_without_a_path_the_variable_is_followed_then_the_current_folder_is_looked_in(
    shop: Path, elsewhere: Path
) -> None:
    named = write(shop, "[training]\nepochs = 3")
    write(elsewhere, "[training]\nepochs = 4")
    assert load_settings(environ={"ATTRIBUTREE_CONFIG": str(named)}).training.epochs == 3
    assert load_settings(environ={}).training.epochs == 4
    assert load_settings(named, environ={"ATTRIBUTREE_CONFIG": "/nowhere.toml"}).training.epochs == 3


def test_a_folder_stands_for_the_file_in_it(shop: Path) -> None:
    write(shop, "[training]\nepochs = 3")
    assert load_settings(shop, environ={}).training.epochs == 3


def test_no_file_anywhere_is_an_error_that_says_what_to_type() -> None:
    with pytest.raises(ConfigError, match=r"no plugins.toml here: run `attributree init`, or give --config PATH"):
        load_settings(environ={})


def test_no_file_is_fine_where_none_is_required(elsewhere: Path) -> None:
    settings = load_settings(environ={}, required=False)
    assert settings.folder == elsewhere
    assert settings.catalog.artifacts == elsewhere / "artifacts"


@pytest.mark.parametrize("required", [True, False])
def test_a_named_file_that_is_not_there_is_always_an_error(shop: Path, required: bool) -> None:
    with pytest.raises(ConfigError, match=r"no configuration at .*typo.toml: run"):
        load_settings(shop / "typo.toml", environ={}, required=required)
    with pytest.raises(ConfigError, match=r"typo.toml \(from \$ATTRIBUTREE_CONFIG\)"):
        load_settings(environ={"ATTRIBUTREE_CONFIG": str(shop / "typo.toml")}, required=required)
    with pytest.raises(ConfigError, match="no configuration at"):
        load_settings(shop, environ={}, required=required)


# --- paths -------------------------------------------------------------------------------------------------------


def test_relative_paths_in_the_file_are_relative_to_its_folder(shop: Path) -> None:
    settings = load(
        shop,
        """
        [catalog]
        database = "sqlite:///data/shop.db?timeout=5"
        artifacts = "../parts"
        [trunk]
        weights = "weights/trunk.safetensors"
        [plugins]
        plugin_dirs = ["own", "/opt/plugins"]
        """,
    )
    assert settings.folder == shop
    assert settings.catalog.database == f"sqlite:///{shop}/data/shop.db?timeout=5"
    assert settings.catalog.artifacts == shop.parent / "parts"
    assert settings.catalog.cache == shop / "cache"
    assert settings.trunk.weights == str(shop / "weights" / "trunk.safetensors")
    assert settings.plugins.plugin_dirs == (shop / "own", Path("/opt/plugins"))


@pytest.mark.parametrize("name", ["a b", "a%20b", "what?A", "what?B=1", "a#b", "größe", "m:p@h", "caf\udce9"])
def test_a_catalogue_lies_in_its_own_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for text, file in (("", "attributree.db"), ('[catalog]\ndatabase = "sqlite:///my%20%3F.db?timeout=5"', "my ?.db")):
        url = load(folder, text).catalog.database
        assert sqlite_file(parse_url(url)) == folder / file
        assert anchor_database(url) == url  # reading it once more changes nothing


def test_relative_paths_on_the_command_line_and_in_the_environment_are_relative_to_the_current_folder(
    shop: Path, elsewhere: Path
) -> None:
    path = write(shop, "")
    settings = load_settings(path, environ={"ATTRIBUTREE_CATALOG__CACHE": "tmp"}, database="sqlite:///here.db")
    assert settings.catalog.cache == elsewhere / "tmp"
    assert settings.catalog.database == f"sqlite:///{elsewhere}/here.db"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////srv/shop.db",
        "sqlite:///file:shop.db?uri=true",
        "postgresql+psycopg://user@host/shop",
        "postgresql://host/shop",
    ],
)
def test_a_database_that_is_no_relative_file_stays_as_it_is_written(shop: Path, url: str) -> None:
    assert load(shop, f'[catalog]\ndatabase = "{url}"').catalog.database == url


@pytest.mark.parametrize("weights", ["hub", "random"])
def test_hub_and_random_are_no_paths(shop: Path, weights: str) -> None:
    assert load(shop, f'[trunk]\nweights = "{weights}"').trunk.weights == weights


def test_the_home_folder_is_understood(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(shop, '[catalog]\ncache = "~/cache"').catalog.cache == Path("/home/somebody/cache")


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[training]\nepoch = 3", "training -> epoch: unknown key; did you mean epochs?"),
        ("[trainig]\nepochs = 3", "trainig: unknown section; did you mean training?"),
        (
            "[other]",
            "other: unknown section; one of catalog, images, trunk, training, plugins, article_types, sources, "
            "attributes",
        ),
        (
            "epochs = 3",
            "epochs: unknown section; one of catalog, images, trunk, training, plugins, article_types, sources, "
            "attributes",
        ),
        ("training = 3", "training: must be a section, [training]"),
        ("[attributes]\nneckline = 3", "attributes -> neckline: must be a section, [attributes.neckline]"),
        ("[attributes.neckline]\ndept = 'head'", "attributes -> neckline -> dept: unknown key; did you mean depth?"),
        (
            "[attributes.neckline]\ndepth = 'deep'",
            "attributes -> neckline -> depth: input should be 'auto', 'exit', 'head', 'block', 'stage' or 'network'",
        ),
        (
            "[attributes.neckline]\nhead = 'lstm'",
            "attributes -> neckline -> head: input should be 'linear', 'multiscale', 'attention', 'ordinal' or "
            "'multilabel'",
        ),
        ("[training]\nepochs = 0", "training -> epochs: input should be greater than or equal to 1"),
        ("[training]\nlearning_rate = inf", "training -> learning_rate: input should be a finite number"),
        ("[training]\ntarget_precision = 90", "training -> target_precision: input should be less than or equal to 1"),
        (
            "[catalog]\ndatabase = 'mysql://x'",
            "catalog -> database: must begin with sqlite:// or postgresql+psycopg://",
        ),
        (
            '[catalog]\nlanguages = ["de", "German"]',
            "catalog -> languages -> 1: must be a language tag such as 'de' or 'pt-BR'",
        ),
        ("[catalog]\nartifacts = ''", "catalog -> artifacts: must not be empty"),
        ("[trunk]\nbackbone = ' '", "trunk -> backbone: must not be empty"),
        ("[plugins]\ndisabled = ['a', '']", "plugins -> disabled -> 1: must not be empty"),
        ("[plugins]\nplugin_dirs = [3]", "plugins -> plugin_dirs -> 0: must be a path"),
    ],
)
def test_a_mistake_is_named_by_section_and_key(shop: Path, text: str, line: str) -> None:
    assert problems(shop, text) == [line]


def test_all_mistakes_are_listed_at_once(shop: Path) -> None:
    text = "[training]\nepoch = 3\nseed = -1\n[trunk]\nimage_size = 'big'\n[attributes.neckline]\nflip = 'perhaps'"
    lines = problems(shop, text)
    assert [line.split(":")[0] for line in lines] == [
        "trunk -> image_size",
        "training -> seed",
        "training -> epoch",
        "attributes -> neckline -> flip",
    ]


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("ATTRIBUTREE_TRAINING__EPOCH", "3", "training -> epoch (from {}): unknown key; did you mean epochs?"),
        ("ATTRIBUTREE_TRAINIG__EPOCHS", "3", "trainig (from {}): unknown section; did you mean training?"),
        ("ATTRIBUTREE_TRAINING", "3", "training (from {}): must be a section, [training]"),
        ("ATTRIBUTREE_TRAINING__SEED", "x", "training -> seed (from {}): input should be a valid integer"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(shop: Path, variable: str, text: str, line: str) -> None:
    (found,) = problems(shop, **{variable: text})
    assert found.startswith(line.format(variable))


def test_a_mistake_in_the_option_names_the_option(shop: Path) -> None:
    with pytest.raises(ConfigError, match=r"catalog -> database \(from --database\): must begin with"):
        load_settings(write(shop, ""), environ={}, database="shop.db")


def test_a_password_is_in_no_message_and_in_no_repr(shop: Path) -> None:
    url = "postgresql+psycopg://user:hunter2@host/shop"
    assert "hunter2" not in repr(load(shop, f'[catalog]\ndatabase = "{url}"'))
    assert "hunter2" not in "\n".join(problems(shop, "[catalog]\ndatabase = 'mysql://user:hunter2@host/shop'"))


def test_a_toml_error_names_file_and_line(shop: Path) -> None:
    path = write(shop, "[training]\nepochs = \n")
    with pytest.raises(ConfigError, match=r"plugins.toml: not valid TOML: .*line 2") as caught:
        load_settings(path, environ={})
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_utf_8_names_the_line(shop: Path) -> None:
    path = shop / "plugins.toml"
    path.write_bytes("[catalog]\n# Kühlhaus\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"line 2 is not UTF-8"):
        load_settings(path, environ={})


def test_a_byte_order_mark_does_no_harm(shop: Path) -> None:
    path = shop / "plugins.toml"
    path.write_bytes(b"\xef\xbb\xbf[training]\nepochs = 3\n")
    assert load_settings(path, environ={}).training.epochs == 3


def test_settings_cannot_be_changed(shop: Path) -> None:
    settings = load(shop)
    with pytest.raises(ValidationError, match="frozen"):
        settings.training.epochs = 3  # type: ignore[misc]


# --- one attribute -----------------------------------------------------------------------------------------------


def test_an_attribute_takes_what_it_does_not_set_from_the_training_section(shop: Path) -> None:
    settings = load(
        shop, "[training]\nepochs = 7\nseed = 3\n[attributes.logo]\nepochs = 9\nflip = false\ndepth = 'head'"
    )
    logo, other = Recipes(settings).of("logo"), Recipes(settings).of("other")
    assert (logo.epochs, logo.seed, logo.flip, logo.depth) == (9, 3, False, "head")
    assert (other.epochs, other.seed, other.flip, other.depth) == (7, 3, True, "auto")
    assert isinstance(logo, BranchSettings)


def test_whatever_an_attribute_may_set_is_a_training_setting() -> None:
    assert set(AttributeSettings.model_fields) <= set(BranchSettings.model_fields)


@pytest.mark.parametrize(
    "change",
    [
        "[training]\nseed = 1",
        "[training]\nepochs = 21",
        "[training]\ntarget_precision = 0.95",
        "[training]\nmax_loss = 1.0",
        "[trunk]\nbackbone = 'resnet18'",
        "[trunk]\nweights = 'random'",
        "[trunk]\nimage_size = 256",
        "[attributes.logo]\ndepth = 'head'",
        "[attributes.logo]\nflip = false",
        "[attributes.logo]\nhead = 'attention'",
    ],
)
def test_the_digest_changes_with_what_changes_the_outcome(shop: Path, change: str) -> None:
    assert Recipes(load(shop, change)).digest("logo") != Recipes(load(shop)).digest("logo")


@pytest.mark.parametrize(
    "change",
    [
        "[training]\nworkers = 3\ndevice = 'cpu'",
        "[training]\nmin_labels = 20\nretrain_labels = 10\nretrain_share = 0.5",
        "[catalog]\ntimeout = 5.0\ncache = 'elsewhere'",
        "[plugins]\nstrict = true",
        "[attributes.other]\nepochs = 99",
        "[training]\nepochs = 99\n[attributes.logo]\nepochs = 20",
    ],
)
def test_the_digest_does_not_change_with_what_changes_only_when_or_how_fast(shop: Path, change: str) -> None:
    assert Recipes(load(shop, change)).digest("logo") == Recipes(load(shop)).digest("logo")


def test_a_project_that_is_moved_keeps_its_digests(shop: Path, elsewhere: Path) -> None:
    text = "[trunk]\nweights = 'trunk.safetensors'"
    assert Recipes(load(shop, text)).digest("logo") == Recipes(load(elsewhere, text)).digest("logo")


# --- article types -----------------------------------------------------------------------------------------------


def test_words_stand_in_a_list_or_beside_the_types_above(shop: Path) -> None:
    path = write(
        shop,
        """
        [article_types]
        top = ["Tshirts", "Women > Blusen"]
        watch = []
        polo = { words = ["Polos"], below = ["top"] }
        """,
    )
    environ = {
        "ATTRIBUTREE_ARTICLE_TYPES__SCARF": "Mufflers, Stoles",
        "ATTRIBUTREE_ARTICLE_TYPES__POLO__BELOW": "shirt",
    }
    assert table_of(load_settings(path, environ=environ).article_types) == (
        ArticleType("top", ("Tshirts", "Women > Blusen")),
        ArticleType("watch"),
        ArticleType("polo", ("Polos",), ("shirt",)),
        ArticleType("scarf", ("Mufflers", "Stoles")),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "top = ['Tees']\ntshirt = ['tee']",
            "article_types: article type 'tshirt': 'tee' is a word of 'top' already; keep it in one of them",
        ),
        ("top = ['Dress']\ndress = []", "article_types: article type 'top': 'Dress' is the type 'dress' already; keep"),
        ("a = { below = ['b'] }\nb = { below = ['a'] }", "article_types: article types stand below themselves: "),
        ("top = 3", "article_types -> top: must be a section, [article_types.top]"),
        ("top = [3]", "article_types -> top -> words -> 0: input should be a valid string"),
        ("top = ['']", "article_types -> top -> words -> 0: must not be empty"),
        ("top = { word = ['Tees'] }", "article_types -> top -> word: unknown key; did you mean words?"),
    ],
)
def test_a_mistake_in_the_article_types_is_one_line(shop: Path, text: str, line: str) -> None:
    (found,) = problems(shop, f"[article_types]\n{text}")
    assert found.startswith(line)


# --- the example -------------------------------------------------------------------------------------------------


def test_the_repositorys_plugins_toml_is_what_init_writes() -> None:
    path = Path(__file__).parents[2] / "plugins.toml"
    assert path.read_text() == render_default_toml()


def test_the_example_holds_every_setting_at_its_default() -> None:
    data: dict[str, Any] = tomllib.loads(render_default_toml())
    settings = Settings()
    for name in ("catalog", "trunk", "training", "plugins"):
        section = getattr(settings, name)
        assert list(data[name]) == list(type(section).model_fields)
    assert Settings.model_validate(data) == settings


def test_the_commented_examples_are_valid_when_they_are_uncommented() -> None:
    example = "".join(render_default_toml().partition("# [article_types]")[1:])
    commented = [line for line in example.splitlines() if " = " in line or line.startswith("# [")]
    settable = [line.removeprefix("# ") for line in commented]
    settings = Settings.model_validate(tomllib.loads("\n".join(settable)))
    assert set(settings.attributes["shape"].model_fields_set) == set(AttributeSettings.model_fields)
    assert [one.name for one in table_of(settings.article_types)] == ["tile", "mosaic"]
    assert settings.trust_changes() == {"review": {"rank": TRUST["review"].rank, "weight": TRUST["review"].weight}}


@given(st.text(min_size=1))
def test_any_database_url_survives_the_example(tail: str) -> None:
    url = f"sqlite:///{tail}"
    try:
        url.encode()
    except UnicodeEncodeError:
        return
    assert tomllib.loads(render_default_toml(database=url))["catalog"]["database"] == url


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_is_described(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_a_source_says_only_what_is_different(shop: Path) -> None:
    text = "[sources.review]\nrank = 3\n[sources.Scan]\nweight = 0.5"
    settings = load(shop, text, ATTRIBUTREE_SOURCES__TEXT__WEIGHT="0.1")
    assert settings.trust_changes() == {"review": {"rank": 3}, "Scan": {"weight": 0.5}, "text": {"weight": 0.1}}
    assert problems(shop, "[sources.review]\nwieght = 3") == [
        "sources -> review -> wieght: unknown key; did you mean weight?"
    ]


def test_reading_settings_imports_neither_torch_nor_sqlalchemy() -> None:
    code = "import sys, attributree.settings.file; sys.exit(bool({'torch', 'sqlalchemy', 'timm'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

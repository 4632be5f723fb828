"""Everything attributree raises on purpose.

AttributreeError
├── ConfigError         plugins.toml, an environment variable or an option is wrong
├── SchemaError         an attribute is declared wrongly
├── PluginError         a plugin cannot be used and `--strict` was given, or it is required
├── CatalogError        the catalogue refuses or cannot be reached
│   ├── CatalogVersionError   its schema is older or newer than this code
│   ├── LeaseError            a training run was taken over or cancelled
│   ├── OvertakenError        another tree version went live meanwhile
│   └── IngestError           a label file cannot be read as a table
├── ImageError          one image cannot be used
│   └── UnreachableError      its host cannot be reached just now
├── TrunkError          the backbone or its weights do not fit
├── ArtifactError       a stored part is missing, damaged or not what its manifest says
├── TrainingError       a branch could not be trained
├── OutputError         what a command found cannot be written to stdout
└── UnknownNameError    an attribute, image, version or plugin of that name does not exist

Only these become a one-line message and exit code 1; anything else keeps its traceback. A message says
what is wrong, where, and what to type.
"""


class AttributreeError(Exception):
    """Base of every error that a user can do something about."""


class ConfigError(AttributreeError):
    """The configuration is wrong; the message names section and key."""


class SchemaError(AttributreeError):
    """An attribute declaration is wrong; the message names attribute and field."""


class PluginError(AttributreeError):
    """A plugin cannot be used; the message names its distribution and the reason."""


class CatalogError(AttributreeError):
    """The catalogue refuses an operation or cannot be reached."""


class CatalogVersionError(CatalogError):
    """The catalogue's schema is not the one this code was written for."""


class LeaseError(CatalogError):
    """A training run belongs to another worker by now, or was cancelled; nothing was recorded."""


class OvertakenError(CatalogError):
    """Another tree version went live while one was on its way; nothing was changed."""


class IngestError(CatalogError):
    """A label file was refused whole; the message names file, row and column."""


class ImageError(AttributreeError):
    """An image is missing, unreadable or not allowed; the message is its quarantine reason."""


class UnreachableError(ImageError):
    """The host of an image cannot be reached just now; that is no fault of the image, which is left out for now."""


class TrunkError(AttributreeError):
    """The backbone cannot be split, or its weights are missing or of another architecture."""


class ArtifactError(AttributreeError):
    """A content-addressed part is missing, damaged, or not what its manifest expects."""


class TrainingError(AttributreeError):
    """A branch could not be trained; nothing was promoted."""


class OutputError(AttributreeError):
    """What a command found cannot be written to stdout; its disk is full, or its reader has gone."""


class UnknownNameError(AttributreeError):
    """No attribute, image, tree version or plugin has that name."""

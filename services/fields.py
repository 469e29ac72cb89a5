"""Types of the fields of a service.yaml, each with its allowed values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

from services.quantities import Cores, Memory, Storage, number_as_text


def absolute_path(text: str) -> str:
    """The text itself; raises ValueError if it is no path that a request or a mount can use."""
    if not text.startswith("/") or any(character.isspace() for character in text):
        raise ValueError(f"{text!r} must start with '/' and have no blanks")
    return text


AbsolutePath = Annotated[StrictStr, AfterValidator(absolute_path)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]


class Model(BaseModel):
    """Unknown keys are refused, nothing changes after validation, keys are camelCase as in Kubernetes."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, defer_build=True)


# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
SUBDOMAIN_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
SUBDOMAIN_MAX_LENGTH = 253
LABEL_MAX_LENGTH = 63
# For all annotations of an object: TotalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation.
ANNOTATIONS_MAX_BYTES = 256 * 1024
# For a key in a ConfigMap or Secret: DNS1123SubdomainMaxLength of k8s.io/apimachinery/pkg/util/validation.
KEY_MAX_LENGTH = 253
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
QUALIFIED_PATTERN = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
LABEL_VALUE_PATTERN = re.compile(rf"({QUALIFIED_PATTERN.pattern})?", re.ASCII)
LABEL_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
# https://www.rfc-editor.org/rfc/rfc6335#section-5.1
PORT_NAME_MAX_LENGTH = 15
# Not empty, not absolute, no URL.
RELATIVE_PATH_PATTERN = re.compile(r"(?!/)(?!.*://).+", re.DOTALL)
ENV_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def matching(pattern: re.Pattern[str], refusal: str, *, most: int | None = None) -> AfterValidator:
    """Accepts texts that match all of the pattern and have at most `most` characters.

    The message for another text is the text itself, followed by `refusal`.
    """

    def check(text: str) -> str:
        if pattern.fullmatch(text) is None or (most is not None and len(text) > most):
            raise ValueError(f"{text!r} {refusal}")
        return text

    return AfterValidator(check)


def env_value(value: object) -> object:
    if isinstance(value, bool) or value is None:
        raise ValueError(f'must be text; put it in quotes, as in "{str(value).lower()}"')
    return number_as_text(value)


def _writable_path(text: str) -> str:
    if text != absolute_path(text).rstrip("/") or ":" in text or ".." in text.split("/"):
        raise ValueError(f"{text!r} cannot be mounted: give a folder other than '/', without '..', ':' or a last '/'")
    return text


def port_name(text: str) -> str:
    """The text itself if it can name a port; raises ValueError with what was found and is allowed."""
    is_label = LABEL_PATTERN.fullmatch(text) and "--" not in text and any(map(str.isalpha, text))
    if not is_label or len(text) > PORT_NAME_MAX_LENGTH:
        raise ValueError(
            f"{text!r} cannot name a port: lower-case letters (at least one), digits and single '-' between them, at "
            f"most {PORT_NAME_MAX_LENGTH} characters"
        )
    return text


def _qualified_name(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if QUALIFIED_PATTERN.fullmatch(name) is None or (slash and SUBDOMAIN_PATTERN.fullmatch(prefix) is None):
        raise ValueError(
            f"{text!r} cannot name a label or an annotation: letters, digits, '-', '_' and '.', at most "
            f"{LABEL_MAX_LENGTH} characters, before it a domain and '/' or nothing"
        )
    return text


def _quoted(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f'must be text; put it in quotes, as in "{str(value).lower()}"')
    return value


SubdomainName = Annotated[
    StrictStr,
    matching(
        SUBDOMAIN_PATTERN,
        "is not a name of Kubernetes: lower-case letters, digits, '-' and '.', neither at an end, "
        f"at most {SUBDOMAIN_MAX_LENGTH} characters",
        most=SUBDOMAIN_MAX_LENGTH,
    ),
]
EnvName = Annotated[
    StrictStr,
    matching(
        ENV_NAME_PATTERN,
        "cannot name an environment variable: letters, digits and '_', no digit first, at most "
        f"{KEY_MAX_LENGTH} characters",
        most=KEY_MAX_LENGTH,
    ),
]
EnvValue = Annotated[str, BeforeValidator(env_value)]
WritablePath = Annotated[StrictStr, AfterValidator(_writable_path)]
LabelName = Annotated[
    StrictStr,
    matching(
        LABEL_PATTERN,
        "is not a DNS label: lower-case letters, digits and '-', no '-' at an end, at most "
        f"{LABEL_MAX_LENGTH} characters",
        most=LABEL_MAX_LENGTH,
    ),
]
PortName = Annotated[StrictStr, AfterValidator(port_name)]
QualifiedName = Annotated[StrictStr, AfterValidator(_qualified_name)]
LabelValue = Annotated[
    str,
    BeforeValidator(_quoted),
    matching(
        LABEL_VALUE_PATTERN,
        "cannot be the value of a label: letters, digits, '-', '_' and '.', a letter or digit at both "
        f"ends, at most {LABEL_MAX_LENGTH} characters",
    ),
]
Labels = dict[QualifiedName, LabelValue]
Annotations = dict[QualifiedName, Annotated[str, BeforeValidator(_quoted)]]


class Resources(Model):
    """Requests of one container; memory and ephemeral storage are limits too, cpu is not (no throttling)."""

    cpu: Cores = "50m"
    memory: Memory = "128Mi"
    ephemeral_storage: Storage = "256Mi"

"""Access: no secrets in plain text, and only named rights, for named accounts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from policy.declaration import Problem, View, problems_of
from policy.kinds import builds, container_name, containers, objects
from policy.model import Family, rule

CREDENTIALS = Family("Credentials")
SECRETS_PAGE = "https://kubernetes.io/docs/concepts/configuration/secret/"
REMEDY = "Put it into a Secret: `secrets: [NAME]` in service.yaml, its value with `pulumi config set --secret`."


@rule(
    "no-secret-in-env",
    title="No environment variable of a container has a secret in plain text",
    why="Anyone who may read the workload can read the secret, and it stays in the history.",
    source=f"kube-linter: env-var-secret; {SECRETS_PAGE}",
    remedy=REMEDY,
    of=containers,
)
def no_secret_in_env(container: View) -> Iterator[Problem]:
    def check(variable: View) -> Iterator[Problem]:
        value = variable.at("value")
        if kind := finding(variable.at("name").text() or "", value.text()):
            yield value.problem(
                f"variable `{variable.at('name').value}` of {container_name(container)} looks like {kind}; "
                "allowed: a reference to a Secret"
            )

    return problems_of(container.at("env").items(), check)


@rule(
    "no-secret-in-config-map",
    title="No ConfigMap contains a secret",
    why="ConfigMaps are not encrypted, and far more people and services may read them than Secrets.",
    source=SECRETS_PAGE,
    remedy=REMEDY,
    of=objects("ConfigMap"),
)
def no_secret_in_config_map(config_map: View) -> Iterator[Problem]:
    def check(entry: tuple[str, View]) -> Iterator[Problem]:
        name, value = entry
        if kind := finding(name, value.text()):
            yield value.problem(f"the value looks like {kind}; allowed: a key of a Secret")

    return problems_of(config_map.at("data").entries().items(), check)


@rule(
    "no-secret-in-build",
    title="No secret is a build argument",
    why="Build arguments are stored in the image's history: anyone who can pull the image can read them.",
    source="https://docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env/",
    remedy="Use a secret mount (`RUN --mount=type=secret`) and the build's `secrets`.",
    of=builds,
)
def no_secret_in_build(build: View) -> Iterator[Problem]:
    def check(argument: tuple[str, View]) -> Iterator[Problem]:
        name, value = argument
        if kind := finding(name, value.text()):
            yield value.problem(f"build argument `{name}` looks like {kind}; allowed: a secret mount")

    return problems_of(build.at("buildArgs").entries().items(), check)


# Everything is possessive and of bounded length, and no two keys begin within one word: a text of any size takes time
# linear in its length. A longer key or value is cut, and is still recognized.
BLANKS = r"[^\S\n]*+"
KEY = r"[\w.-]{1,80}+"
# JSON within a JSON text has `\"` for a quote. A quoted text with blanks is a label, not a secret.
QUOTED = r"\\*+(?:\"(?P<double>[^\"\s]{1,300}+)|'(?P<single>[^'\s]{1,300}+))(?!\s)"
GROUP = r"\{[^{}\s]{0,100}\}|\{"
# As in .env files, query strings, connection strings, options of a JVM and TOML. Not `==`, `=~`, nor computed values.
ASSIGNED = re.compile(
    rf"(?<![^\s{{,;&?\"'(\[|`])(?<!\$\{{)(?:-D)?(?P<key>{KEY})(?:\\*+[\"'])?{BLANKS}=>?{BLANKS}"
    rf"(?={QUOTED}|(?P<bare>(?![=~>{{\[()\\`])(?!(?<=\s)(?:\#|{KEY}=[^\s=]))(?:{GROUP}|[^\s\"',;&{{}}]{{1,100}}+){{1,3}}+))"
)
# As in YAML and JSON: prose has colons too, so a key begins its line, a mapping or an entry, or is in quotes, and only
# a comment follows a value. A plain value begins with none of YAML's indicators.
# https://yaml.org/spec/1.2.2/#53-indicator-characters
MAPPED = re.compile(
    rf"(?:[\"'](?P<quoted_key>{KEY})\\*+[\"']|(?:^|(?<=[{{,;])(?<!\$\{{)){BLANKS}(?:-[^\S\n]++)?(?P<key>{KEY}))"
    rf"{BLANKS}:{BLANKS}"
    rf"(?={QUOTED}|(?P<bare>(?![|>!&*%@`{{\[#:=(\\?])(?:{GROUP}|[^\s\"',{{}}]{{1,100}}+){{1,6}}+)"
    rf"{BLANKS}(?:[,}}\n#]|\Z))",
    re.MULTILINE,
)
# Stands for a value that is somewhere else: a variable, a placeholder, code that computes it, a pattern.
REFERENCE = re.compile(
    r"[$#%@]\w*[({].*|(?:\${1,2}|[:%])\w+%?|\?|\.[*+].*|(?i:x{3,}|\.{3}|redacted|masked|hidden)"
    r"|[A-Za-z_][\w.]*+[(\[](?:.*[()\[\]])?"
    r"|(?:\w*\.)++\w*?(?i:pass|pwd|secret|token|key|cred)\w*"
    r"|(?:[A-Z0-9]+_)*(?:PASSWORD|PASSWD|PASS|PWD|SECRET|TOKEN|KEY)(?:_[A-Z0-9]+)*"
)


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Each key with its value, cut at some hundred characters; a key whose value is a reference is left out."""
    for pattern in (MAPPED, ASSIGNED):
        for match in pattern.finditer(text):
            found = match.groupdict()
            key = found["key"] or found["quoted_key"]
            value = (found["bare"] or found["double"] or found["single"]).rstrip("\\;")
            if value and not REFERENCE.fullmatch(value):
                yield key, value


# Shapes that vendors gave their tokens so that they can be found.
# https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
# A pattern that can start again within itself is of bounded length: a text of 200 kB takes no noticeable time.
SHAPES = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Stripe key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "an npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a PyPI token": re.compile(r"\bpypi-AgE[A-Za-z0-9_-]{16,}"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,9000}\.[A-Za-z0-9_-]{8}"),
    "an address with a password": re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s/:@?#]{0,100}:([^\s/@]{1,200})@"),
}
NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Words may be written as one: `PGPASSWORD`.
PASSWORD_ENDINGS = ("password", "passwd", "passphrase", "pwd")
SECRET_WORDS = frozenset({"secret", "token", "key", "apikey", "credential", "credentials", "auth"})
# `TOKEN_URL`, `SECRET_NAME`, `PASSWORD_MAX_AGE_DAYS`, `PUBLIC_KEY`: about a secret, but not one.
PLACES = frozenset(
    {"file", "path", "dir", "folder", "url", "uri", "href", "link", "page", "route", "endpoint", "redirect", "callback"}
    | {"origin", "host", "hostname", "address", "port", "domain", "service", "backend", "realm", "tenant", "source"}
    | {"store", "storage", "vault", "bucket", "queue", "topic", "zone", "arn"}
)
MEASURES = frozenset(
    {"ttl", "age", "days", "hours", "minutes", "seconds", "millis", "ms", "timeout", "interval", "period", "window"}
    | {"expiry", "expiration", "lifetime", "history", "rotation", "version", "length", "size", "count", "limit", "min"}
    | {"max", "minimum", "maximum", "digits", "characters", "attempts", "retry", "retries", "iterations", "rounds"}
    | {"cost", "strength", "level", "score"}
)
KINDS = frozenset(
    {"type", "kind", "class", "format", "pattern", "regex", "template", "policy", "policies", "mode", "method", "flow"}
    | {"mechanism", "strategy", "scheme", "scope", "provider", "driver", "plugin", "manager", "module", "validator"}
    | {"generator", "hasher", "encoder", "encoding", "encryption", "serializer", "algorithm", "cipher", "digest"}
    | {"exchange", "enabled", "disabled", "required", "allowed"}
)
LABELS = frozenset(
    {"name", "username", "id", "alias", "ref", "prefix", "suffix", "issuer", "audience", "header", "field", "column"}
    | {"attribute", "parameter", "param", "property", "properties", "selector", "label", "title", "subject", "message"}
    | {"text", "description", "hint", "prompt", "placeholder", "env", "command", "cmd", "script"}
)
HARMLESS_LAST_WORDS = PLACES | MEASURES | KINDS | LABELS
HARMLESS_WORDS = frozenset({"public", "pub"})
# Such a key looks something up and gives no access: `PARTITION_KEY`.
KEYS_TO_LOOK_UP = frozenset({"partition", "sort", "shard", "row", "routing", "cache", "object", "foreign"})
# The last word of a file's name, as in a key of a ConfigMap: `reset-password.html`.
DOCUMENTS = frozenset(
    {"html", "htm", "txt", "md", "json", "yaml", "yml", "xml", "toml", "ini", "cfg", "conf", "config"}
)
PLACEHOLDER = re.compile(
    r"\$\(.*\)|\$\{.*\}|\{\{.*\}\}|<.*>|\*+|/.*|(?:vault|file|env):.*|true|false|yes|no|on|off|none|null|nil|undefined"
    r"|required|optional|string",
    re.IGNORECASE,
)
# Without a user before the host: the user may be a token.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]*(?:[/?#]\S*)?|(?:arn|urn):\S+", re.IGNORECASE)
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?::\d{1,5})?")
ALGORITHM = re.compile(r"(?<![a-z0-9])(?:sha|aes)[-_]?\d{1,3}(?![a-z0-9])", re.IGNORECASE)
BLANK = re.compile(r"\s")
LETTER = re.compile(r"[^\W\d_]")
DIGIT = re.compile(r"\d")
RANDOM_LEAST_LENGTH = 12
RANDOM_LEAST_BITS = 3.0
MOST_DIGITS_OF_A_COUNT = 3


def finding(name: str, value: str | None) -> str:
    """What the value under this name, or a part of it such as `password=x`, looks like, such as `a JSON Web Token`.

    Empty if it looks harmless. Never the value itself.
    """
    if not value:
        return ""
    for what, shape in SHAPES.items():
        match = shape.search(value)
        if match and not any(PLACEHOLDER.fullmatch(group) for group in match.groups()):
            return what
    if what := _by_name(name, value):
        return what
    # `CLIENT_SECRET` is a secret, whatever its value looks like; the name of a Secret goes in `CLIENT_SECRET_NAME`.
    words = NAME_WORD.findall(name)
    if words and words[-1].lower() == "secret" and not PLACEHOLDER.fullmatch(value):
        return "a secret by its name"
    for key, inner in pairs(value):
        # `{key: new-checkout-v2, value: on}`: `key` alone, in a larger text, says nothing.
        is_entry = key.lower() == "key" and not inner.isalnum()
        if not is_entry and (what := _by_name(key, inner)):
            return f"{what} (`{key}` in it)"
    return ""


def _by_name(name: str, value: str) -> str:
    words = [word.lower() for word in NAME_WORD.findall(name)]
    if not words or PLACEHOLDER.fullmatch(value) or ADDRESS.fullmatch(value):
        return ""
    *before, last = words
    looks_up = last == "key" and bool(KEYS_TO_LOOK_UP & set(before[-1:]))
    if looks_up or {last, last.removesuffix("s")} & HARMLESS_LAST_WORDS or HARMLESS_WORDS & set(words):
        return ""
    if _is_password(words, value):
        return "a password"
    return "a secret by its name" if SECRET_WORDS & set(words) and _is_random(value) else ""


def _is_password(words: list[str], value: str) -> bool:
    last = words[-1]
    if last == "pass":
        return not value.isdigit()
    if last.endswith(PASSWORD_ENDINGS):
        return True
    # `PASSWORD_REUSE=5` counts something, `passwordKey` names an entry, and `reset-password.html` is a page.
    is_setting = value.isdigit() and len(value) <= MOST_DIGITS_OF_A_COUNT
    is_document = last in DOCUMENTS and BLANK.search(value.strip()) is not None
    named = any(word.endswith(PASSWORD_ENDINGS) for word in words) and last != "key"
    return named and not is_setting and not is_document


def _is_random(value: str) -> bool:
    """Whether it is long, mixes letters and digits without blanks, and has hardly a pattern: a key, no words."""
    mixed = DIGIT.search(value) and LETTER.search(value)
    if len(value) < RANDOM_LEAST_LENGTH or not mixed or BLANK.search(value):
        return False
    if HOST.fullmatch(value) or ALGORITHM.search(value):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    bits_per_character = -sum(share * math.log2(share) for share in shares)  # Shannon entropy
    return bits_per_character >= RANDOM_LEAST_BITS


RBAC = Family("RBAC")
GOOD_PRACTICES = "https://kubernetes.io/docs/concepts/security/rbac-good-practices/"
roles = objects("Role", "ClusterRole")
bindings = objects("RoleBinding", "ClusterRoleBinding")
ESCALATING_VERBS = ("escalate", "bind", "impersonate")
READING_VERBS = ("get", "list", "watch", "*")
POWERFUL_ROLES = ("cluster-admin", "admin", "edit")
EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts")
MASTERS = "system:masters"


@rule(
    "rbac-no-wildcards",
    title="Roles have no wildcards",
    why="A wildcard also allows every verb and resource that is added later.",
    source=f"{GOOD_PRACTICES}#least-privilege",
    remedy="List the verbs, API groups and resources that are needed.",
    of=roles,
)
def rbac_no_wildcards(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        for key in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
            for value in each.at(key).items():
                if "*" in (value.text() or ""):
                    yield value.problem(f"{key} has {value.shown()}; allowed: names without `*`")
    aggregation = role.at("aggregationRule")
    if aggregation.present:
        yield aggregation.problem("the role has an aggregationRule; allowed: `rules` of its own")


@rule(
    "rbac-no-escalation",
    title="No role has the verbs escalate, bind or impersonate",
    why="An account with escalate, bind or impersonate can get every other right.",
    source=f"{GOOD_PRACTICES}#privilege-escalation-risks",
    remedy="Leave these verbs to the cluster's administrators.",
    of=roles,
)
def rbac_no_escalation(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        for verb in each.at("verbs").items():
            if verb.read() in ESCALATING_VERBS:
                yield verb.problem(f"the role allows {verb.shown()}; allowed: none of {', '.join(ESCALATING_VERBS)}")


@rule(
    "rbac-no-secret-reads",
    title="No role reads Secrets",
    why="An account that can list Secrets can read every password and token of the namespace.",
    source=f"{GOOD_PRACTICES}#listing-secrets",
    remedy="Mount the one Secret that a pod needs; the kubelet reads it for the pod.",
    of=roles,
)
def rbac_no_secret_reads(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        reads = any(verb.read() in READING_VERBS for verb in each.at("verbs").items())
        for resource in each.at("resources").items():
            if reads and (resource.text() or "").partition("/")[0] in ("secrets", "*"):
                yield resource.problem(f"the role reads {resource.shown()}; allowed: no get, list or watch of secrets")


@rule(
    "rbac-no-admin-binding",
    title="No binding refers to cluster-admin, admin or edit",
    why="cluster-admin, admin and edit give access to Secrets, and cluster-admin allows everything.",
    source=f"{GOOD_PRACTICES}#least-privilege; kube-linter: cluster-admin-role-binding",
    remedy="Bind a role of this stack that lists the rights that are needed.",
    of=bindings,
)
def rbac_no_admin_binding(binding: View) -> Iterator[Problem]:
    role = binding.at("roleRef", "name")
    if role.read() in POWERFUL_ROLES:
        yield role.problem(f"the binding gives {role.shown()}; allowed: none of {', '.join(POWERFUL_ROLES)}")


@rule(
    "rbac-named-subjects",
    title="Rights are given to named accounts",
    why="An attacker in any pod can use the rights of all users and of the default ServiceAccount.",
    source=f"{GOOD_PRACTICES}#hardening",
    remedy="Bind the role to the ServiceAccount of the workload that needs it.",
    of=bindings,
)
def rbac_named_subjects(binding: View) -> Iterator[Problem]:
    for subject in binding.at("subjects").items():
        name = subject.at("name").text() or ""
        default = subject.at("kind").read() == "ServiceAccount" and name == "default"
        if default or name == MASTERS or name.startswith(EVERYBODY):
            yield subject.at("name").problem(f"the binding is for {name}; allowed: a ServiceAccount of a workload")

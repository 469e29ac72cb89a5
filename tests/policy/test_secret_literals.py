"""What looks like a secret is found, what does not is left alone, and neither is ever shown."""

from __future__ import annotations

import pytest

from policy.model import State
from policy.secret_literals import finding
from tests.policy.policy_examples import Edit, good, judged

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("A", "AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key"),
        ("A", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "a private key"),
        ("A", "-----BEGIN PRIVATE KEY-----", "a private key"),
        ("A", "ghp_" + "a1B2" * 9, "a GitHub token"),
        ("A", "github_pat_" + "a1B2" * 9, "a GitHub token"),
        ("A", "glpat-" + "a1B2" * 5, "a GitLab token"),
        ("A", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "a JSON Web Token"),
        ("URL", "postgresql+psycopg://user:hunter2@db/x", "an address with a password"),
        ("DB_PASSWORD", "hunter2", "a password"),
        ("dbPassword", "x", "a password"),
        ("PGPASSWORD", "hunter2", "a password"),
        ("SMTP_PASS", "hunter2", "a password"),
        ("dbpassword", "hunter2", "a password"),
        ("MYSQL_ROOT_PASSWORD", "123", "a password"),
        ("DB_PASSWORD_PROD", "hunter2", "a password"),
        ("DB_PASSWORD", "correct horse battery", "a password"),
        ("password.txt", "hunter2\n", "a password"),
        ("API_KEY", "my-secret-key-123", "a secret by its name"),
        ("API_KEY", "123e4567-e89b-12d3-a456-426614174000", "a secret by its name"),
        ("PRIMARY_KEY", "q8Zr2LmX9tVb4KsW", "a secret by its name"),
        ("BOOTSTRAP_TOKEN", "abcdef.0123456789abcdef", "a secret by its name"),
        ("SENDGRID_KEY", "SG.abcDEF123.xyzXYZ456", "a secret by its name"),
        # A user without a password may be a token.
        ("AUTH", "https://q8Zr2LmX9tVb4KsW@git.example/x", "a secret by its name"),
        ("app.env", "LOG_LEVEL=info\nPGPASSWORD=hunter2\n", "a password (`PGPASSWORD` in it)"),
        ("CLIENT_SECRET", "correct-horse", "a secret by its name"),
        ("clientSecret", "correct-horse", "a secret by its name"),
        ("API_TOKEN", "q8Zr2LmX9tVb4KsW", "a secret by its name"),
        ("SECRET_KEY", "9f86d081884c7d659a2feaa0c55ad015", "a secret by its name"),
        ("app.yaml", "user: me\npassword: hunter2\n", "a password (`password` in it)"),
        ("app.json", '{\n  "apiKey": "q8Zr2LmX9tVb4KsW",\n}', "a secret by its name (`apiKey` in it)"),
    ],
)
def test_what_looks_like_a_secret(name: str, value: str, what: str) -> None:
    assert finding(name, value) == what


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "info"),
        ("USER_SERVICE_URL", "http://user-service"),
        ("DATABASE_URL", "postgresql://user@db/x"),
        ("DATABASE_URL", "postgresql://user:$(PASSWORD)@db/x"),
        ("DATABASE_URL", "postgresql://user:${PASSWORD}@db/x"),
        ("DB_PASSWORD_FILE", "/run/secrets/db"),
        ("DB_PASSWORD", "/run/secrets/db"),
        ("DB_PASSWORD", "$(DB_PASSWORD_FROM_SECRET)"),
        ("TOKEN_TTL", "360000000000000a"),
        ("SECRET_NAME", "order-service-8f2c91d3aa"),
        ("PUBLIC_KEY", "9f86d081884c7d659a2feaa0c55ad015"),
        ("CACHE_KEY", "orders by customer"),
        ("KEYBOARD", "q8Zr2LmX9tVb4KsW"),
        ("GIT_COMMIT", "9f86d081884c7d659a2feaa0c55ad015"),
        ("EMPTY_PASSWORD", ""),
        ("PASSWORDLESS", "yes"),
        ("CLIENT_SECRET", "/run/secrets/client"),
        ("CLIENT_SECRET", "$(CLIENT_SECRET_FROM_SECRET)"),
        ("app.yaml", "tls:\n  secret: shop-tls\n"),
        ("OAUTH_TOKEN_ENDPOINT", f"https://login.microsoftonline.com/{GUID}/oauth2/v2.0/token"),
        ("AUTH", f"https://login.microsoftonline.com/{GUID}"),
        ("AUTH_SERVICE", "auth-service-v2.example"),
        ("AUTH_BACKEND", "oauth2-proxy-backend"),
        ("AUTH_DOMAIN", "login2.example.com"),
        ("AUTH", "login2.example.com"),
        ("AUTH", "ip-10-0-3-117.ec2.internal:8080"),
        ("AUTH_HOSTS", "login1.example.com,login2.example.com"),
        ("AUTH_TENANT", GUID),
        ("AUTH_MODE", "oauth2-client-credentials"),
        ("AUTH_LOCAL", "scram-sha-256"),
        ("POSTGRES_HOST_AUTH_METHOD", "scram-sha-256"),
        ("PASSWORD_MAX_AGE_DAYS", "90"),
        ("PASSWORD_MIN_SPECIAL", "1"),
        ("PASSWORD_REQUIRED", "yes"),
        ("PASSWORD_RESET", "https://shop.example/reset"),
        ("PASSWORD_RESET_TEMPLATE", "reset.html"),
        ("PASSWORD_POLICY", "strict"),
        ("PASSWORD_HASHERS", "argon2"),
        ("DB_PASSWORD", "vault:secret/data/db#password"),
        ("PROXY_PASS", "http://backend:8080"),
        ("reset-password.html", "<h1>Your new password</h1>"),
        ("S3_KEY_FORMAT", "uploads/2024/file-{id}-v1"),
        ("TOKEN_VERSION", "2024-01-31-stable"),
        ("KEY_PATTERN", "orders-v2-by-customer"),
        ("AUTH_REALM", "shop-realm-v2-prod"),
        ("PARTITION_KEY", "tenant_id_v2_hash"),
        ("KMS_KEY", f"arn:aws:kms:eu-west-1:123456789012:key/{GUID}"),
        ("NONE", None),
    ],
)
def test_what_does_not_look_like_a_secret(name: str, value: str | None) -> None:
    assert finding(name, value) == ""


def test_a_secret_is_never_shown() -> None:
    secret = "q8Zr2LmX9tVb4KsW"
    env = [{"name": "API_TOKEN", "value": secret}]
    spoilt = Edit("Deployment/api", (*CONTAINER, "env"), env).done(good())
    spoilt = Edit("ConfigMap/api", ("data",), {"a.env": f"API_TOKEN={secret}"}).done(spoilt)
    report = judged(spoilt)
    assert {each.rule.id for each in report.of(State.VIOLATION)} == {"no-secret-in-env", "no-secret-in-config-map"}
    assert secret not in "".join(str(problem) for each in report.results for problem in each.problems)

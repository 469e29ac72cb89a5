"""What looks like a secret is found wherever it stands, what does not is left alone, and neither is ever shown."""

from __future__ import annotations

import time

import pytest

from policy.model import State
from policy.rules.access import finding
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


RANDOM = "q8Zr2LmX9tVb4KsW"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

WITH_A_PASSWORD = [
    # JSON, on one line and within another text
    '{"db":{"password":"hunter2"}}',
    '{"db": {"user": "a", "password": "hunter2"}}',
    '{"user":"a","password":12345678}',
    "{'password': 'hunter2'}",
    r"{\"password\":\"hunter2\"}",
    r"{\n  \"password\": \"hunter2\"\n}",
    # connection strings
    "host=db user=a password=hunter2",
    "host=db password=hunter2 port=5432",
    "host=db password = hunter2",
    "psql 'host=db password=hunter2'",
    'DSN="host=db password=hunter2"',
    "jdbc:postgresql://h/db?user=a&password=hunter2",
    "jdbc:mysql://h/db?password=hunter2&user=a",
    "jdbc:sqlserver://h:1433;user=a;password=hunter2;encrypt=true",
    "url=jdbc:h2:mem?password=hunter2",
    "Server=db;Database=x;User Id=a;Password=hunter2;",
    'Server=db;User Id=a;Pwd="hunter2"',
    "redis:6379,password=hunter2,ssl=True",
    'PlainLoginModule required username="a" password="hunter2";',
    # YAML
    "{password: hunter2}",
    "db: {user: a, password: hunter2}",
    "db: {password: hunter2, user: a}",
    "password: hunter2 # comment",
    'password: "hunter2" # comment',
    "users:\n  - password: hunter2\n    user: a\n",
    "db:\n  password: hunter2\r\n  user: a\r\n",
    "password: a;b&c",
    "user:a;password:hunter2",
    # shells, options, TOML, XML, properties
    "export DB_PASSWORD=hunter2",
    'export DB_PASSWORD="hunter2"',
    "PGPASSWORD=hunter2 psql -h db",
    "-Ddb.password=hunter2",
    "-Xmx1g -Dpassword=hunter2 -jar a.jar",
    "run --db-password=hunter2 --verbose",
    "--set db.user=a,db.password=hunter2",
    "[db]\npassword = hunter2 ; mine\n",
    '{ password = "hunter2" }',
    'password => "hunter2"',
    '<Resource username="a" password="hunter2"/>',
    "spring.datasource.password=hunter2",
    "pwd=x",
    # what only resembles a reference
    "password=pa$$w0rd",
    "password=Sup3r{cret",
    "password=correct.horse",
]
WITH_A_KEY = [
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={AZURE_KEY};EndpointSuffix=core.windows.net",
    f"Endpoint=sb://x.example/;SharedAccessKeyName=Root;SharedAccessKey={AZURE_KEY[:43]}=",
    f"https://api.example/x?token={RANDOM}&y=1",
    f"https://api.example/x?api_key={RANDOM}",
    f"-Dtoken={RANDOM}",
    f"api:\n  key: {RANDOM}\n",
    f'{{"key":"{RANDOM}"}}',
    f'{{"apiKey":"{RANDOM}"}}',
    # longer than is looked at
    f"privateKey={AZURE_KEY * 20}",
    f'{{"privateKey":"{AZURE_KEY * 20}"}}',
]
HARMLESS = [
    # prose and labels
    "The password must be at least eight characters.",
    "Note: password: see the vault.",
    "Password: see the vault",
    '{"password": "Enter your password", "login": "Log in"}',
    '<input type="password" name="password">',
    "Usage: login --password=PASSWORD --token=TOKEN",
    # what stands for a value
    "password=${DB_PASSWORD}",
    "password: ${DB_PASSWORD:changeme}",
    "echo ${DB_PASSWORD:-x} ${PASSWORD:?must be set} ${PASSWORD:=x}",
    "password=$(cat /run/secrets/db)",
    'password="$(cat /run/secrets/db)"',
    "export PGPASSWORD=$DB_PASSWORD",
    'export PGPASSWORD="$DB_PASSWORD"',
    "--docker-password=$$DOCKER_PASSWORD",
    "-Ddb.password=$(DB_PASSWORD)",
    "password: {{ .Values.password }}",
    'password: "{{ .Values.password }}"',
    "password={{pw}}",
    "password: ${{ secrets.DB_PASSWORD }}",
    "password = $__file{/etc/secrets/pw}",
    "password: '%env(DB_PASSWORD)%'",
    "password=%DB_PASSWORD%",
    "password: ENC(abc123def)",
    "password: vault:secret/data/db#password",
    "password: op://vault/item/pw",
    "password: <password>",
    "password=REDACTED",
    "password: DB_PASSWORD",
    "password= # filled in by the pipeline\nuser=a",
    "password= user=a",
    # code and patterns
    'password = os.environ["DB_PASSWORD"]',
    "password=os.getenv('X')",
    "password=result.ToString().TrimEnd('x')",
    "password: process.env.DB_PASSWORD,",
    "password=args.password",
    "interface A { password: string; }",
    '{"required":["password"],"properties":{"password":{"type":"string"}}}',
    "UPDATE users SET password = $1 WHERE id = $2",
    "UPDATE users SET password = ? WHERE id = ?",
    'if password == "x" or password != "y"',
    "s/password=[^&]*/password=***/",
    r"(?:password|token)=\S+",
    r'"password":\s*"[^"]+"',
    "TestToken::test",
    # YAML's own
    "password: |\n  <hidden>\n",
    "password: !vault |\n",
    "password: *dbpw",
    "password: ''",
    "password:\n  type: string\n",
    # settings
    "password_encryption = scram-sha-256",
    "validate_password.policy=MEDIUM\nvalidate_password.length=8",
    "password_require_current=ON",
    "mongodb://h/db?authSource=admin&authMechanism=SCRAM-SHA-256",
    "--auth-host=scram-sha-256 --auth-local=scram-sha-256",
    "grant_type=password&client_id=web",
    "proxy_pass=http://backend:8080",
    "token_url = https://login2.example.com/oauth2/token",
    "smtp_auth_username: alertmanager2@example.org",
    "secretKeyRef: {name: db, key: password}",
    "adminPasswordKey: postgres-password",
    '{"key":"new-checkout-v2-enabled","value":true}',
    '{"key":"Q-4a0c7a8e-3b0c-4b0c-8b0c-1234567890ab-0"}',
    '{"password":null,"passwordRequired":true}',
    '{"username":"string","password":"string"}',
]


@pytest.mark.parametrize("text", WITH_A_PASSWORD)
def test_a_password_is_found_wherever_it_stands(text: str) -> None:
    assert finding("SETTINGS", text).startswith("a password (`")


@pytest.mark.parametrize("text", WITH_A_KEY)
def test_a_key_is_found_wherever_it_stands(text: str) -> None:
    assert finding("SETTINGS", text).startswith("a secret by its name (`")


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert finding("SETTINGS", text) == ""


def test_the_key_is_shown_and_the_value_is_not() -> None:
    assert finding("JAVA_OPTS", "-Xmx1g -Ddb.password=hunter2") == "a password (`db.password` in it)"


# What makes a careless pattern take time with the square of the length.
LONG_SHAPES = [
    *("a", "-", "-a", " ", "a ", "\n", "=", "a=", "?a=", "?key=", "'a=", "{a:", ",a:", "[a=", '"', '"a"', "\\", '"a\\'),
    *("{", "x={", "?x=${", "x={a", "a: b\n", "password: a b\n", "?token=aaaaaaaaaaaaa1", "eyJaaaaaaaa-", "a://:"),
    *(
        "-----BEGIN A ",
        '{"token":"a1 "},',
        "?a=a.",
        "?a=A_",
        "?password=$(x",
        "password: a.password.\n",
        "?password=a(",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("shape", LONG_SHAPES)
def test_a_long_value_takes_no_time_that_anybody_would_notice(shape: str) -> None:
    text = shape * (400_000 // len(shape))
    started = time.process_time()
    finding("SETTINGS", text)
    assert time.process_time() - started < 3  # the slowest takes 0.6; what grows with the square, 7 and more

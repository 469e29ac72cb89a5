"""Secrets are found wherever they stand in a value, prose and settings are left alone, and long values take no time."""

from __future__ import annotations

import time

import pytest

from policy.secret_literals import finding

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

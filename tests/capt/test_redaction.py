"""Credentials in a provider's error text stay out of conditions, Events and reprs.

Terraform quotes what it was given. The list of what looks like a credential is in one place; real
errors of Terraform and AWS pass as they are.
"""

import pytest

from tests.capt.driving import Run, run
from tests.capt.worlds import (
    HOST,
    Objects,
    base64_of,
    changed,
    condition,
    conditions,
    provided,
    ready,
    waiting,
)

WORKSPACE, GENERATOR, CHECK = "tokyo-eks-controlplane", "tokyo-kubeconfig", "tokyo-spot-role-check"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLWNhbmFyeQ"
PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAcanary\nc2VjcmV0\n"
    "-----END RSA PRIVATE KEY-----"
)
# A message, and the parts of it that nobody may see.
CREDENTIALS: dict[str, tuple[str, list[str]]] = {
    "an access key": (f"Error: key {KEY_ID} is not valid", [KEY_ID]),
    "a temporary access key": ("denied for ASIAIOSFODNN7EXAMPLE here", ["ASIAIOSFODNN7EXAMPLE"]),
    "a secret key as HCL": (f'secret_key = "{SECRET_KEY}" rejected', [SECRET_KEY]),
    "a secret key in the environment": (
        f"AWS_SECRET_ACCESS_KEY={SECRET_KEY} rejected",
        [SECRET_KEY],
    ),
    "a secret key in an ini": (f"aws_secret_access_key = {SECRET_KEY}\nregion = x", [SECRET_KEY]),
    "a session token": (f"AWS_SESSION_TOKEN={JWT}XYZ expired", [JWT]),
    "a password": ("login failed: password=hunter2-canary for admin", ["hunter2-canary"]),
    "a password with a colon": ("password: hunter2-canary", ["hunter2-canary"]),
    "a password in capitals": ("DB_PASSWORD=hunter2-canary refused", ["hunter2-canary"]),
    "a password in JSON": ('{"user": "a", "password": "hunter2-canary"}', ["hunter2-canary"]),
    "a password in quotes": ("password='hunter2 canary' refused", ["hunter2 canary", "canary"]),
    "a password with escapes": ('{"password":"hun\\"ter2-canary"}', ["ter2-canary"]),
    "a password of a connection string": (
        "Server=db;Uid=admin;Pwd=hunter2-canary;Port=1",
        ["hunter2-canary"],
    ),
    "a password in the environment of MySQL": ("MYSQL_PWD=hunter2-canary", ["hunter2-canary"]),
    "a password after a flag": (
        "exit status 1: psql --password hunter2-canary -h db",
        ["hunter2-canary"],
    ),
    "a password in Go": ("password := hunter2-canary", ["hunter2-canary"]),
    "a secret of AWS": ('{"SecretString":"hunter2-canary"}', ["hunter2-canary"]),
    "a key of Azure": ("AccountKey=abc0-canary==;EndpointSuffix=x", ["abc0-canary"]),
    "authorization by a token": ("authorization: Token abc-canary", ["abc-canary"]),
    "a token of GitLab": (
        "cloning with glpat-abcdefghij0123456789",
        ["glpat-abcdefghij0123456789"],
    ),
    "a token of Slack": ("posting with xoxb-1234567890-abcdef", ["xoxb-1234567890-abcdef"]),
    "a key of Google": (f"key AIza{'a1' * 17}b denied", [f"AIza{'a1' * 17}b"]),
    "a token of Vault": ("using hvs.CAESIJabcdefghij0123 failed", ["hvs.CAESIJabcdefghij0123"]),
    "a token": ("token=abcdef0123456789 refused", ["abcdef0123456789"]),
    "an API key": ("api_key=abcdef0123456789 refused", ["abcdef0123456789"]),
    "a client secret": ("client_secret: abcdef0123456789", ["abcdef0123456789"]),
    "a bearer token": (f"Authorization: Bearer {JWT}", [JWT]),
    "a bearer token in lower case": ("authorization: bearer abcdef0123456789-canary", ["canary"]),
    "basic authorization": (
        f"Authorization: Basic {base64_of('admin:hunter2-canary')}",
        [base64_of("admin:hunter2-canary")],
    ),
    "a web token": (f"invalid claims in {JWT}, see the log", [JWT]),
    "a private key": (
        f"cannot parse\n{PRIVATE_KEY}\nat line 3",
        ["MIIEowIBAAKCAQEAcanary", "c2VjcmV0"],
    ),
    "a private key on one line": (
        "cannot parse " + PRIVATE_KEY.replace("\n", "\\n") + " at line 3",
        ["MIIEowIBAAKCAQEAcanary"],
    ),
    "half a private key": (f"cannot parse {PRIVATE_KEY[:60]}", ["MIIEowIBAAKCAQEAcanary"[:20]]),
    "a certificate": (
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgcanary\n-----END CERTIFICATE-----",
        ["MIIBszCCAVmgcanary"],
    ),
    "a URL with a password": ("Get https://admin:hunter2-canary@host/x: EOF", ["hunter2-canary"]),
    "a database": ("postgres://admin:hunter2-canary@db:5432/x refused", ["hunter2-canary"]),
    "a URL with a token": (
        "git::https://canary-0123456789@git.example/x.git",
        ["canary-0123456789"],
    ),
    "a token of GitHub": ("ghp_0123456789abcdefghijABCDEFGHIJ012345 denied", ["ghp_0123456789"]),
    "a presigned URL of S3": (
        "https://b.s3.example.com/k?X-Amz-Credential=canary%2F2026&X-Amz-Signature=canary: 403",
        ["canary"],
    ),
    "a presigned URL of Azure": (
        "https://a.blob.example.com/c?sv=2024-11-04&sig=canary%2Bx%3D: 403",
        ["canary"],
    ),
    "a presigned URL in JSON": (
        r'{"url":"https://b.example/k?Expires=1\u0026Signature=canary\u0026x=1"}',
        ["canary"],
    ),
    "two of them": (
        f"key {KEY_ID} with password=hunter2-canary",
        [KEY_ID, "hunter2-canary"],
    ),
}

# As Terraform, its AWS provider, Crossplane and EKS print them.
ERRORS = [
    "apply failed: quota",
    (
        "cannot run Terraform operation: Error: creating EKS Cluster (tokyo): "
        "ResourceInUseException: Cluster already exists with name: tokyo"
    ),
    (
        "Error: creating EKS Cluster (tokyo): operation error EKS: CreateCluster, https response "
        "error StatusCode: 400, RequestID: 1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901, "
        "InvalidParameterException: unsupported Kubernetes version 1.99"
    ),
    (
        "AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/captep/1700000000000 "
        "is not authorized to perform: eks:CreateCluster on resource: "
        "arn:aws:eks:ap-northeast-1:123456789012:cluster/tokyo"
    ),
    "ExpiredToken: The security token included in the request is expired",
    "InvalidClientTokenId: The security token included in the request is invalid",
    "UnrecognizedClientException: The security token included in the request is invalid.",
    "no valid credential sources for Terraform AWS Provider found.",
    "Error: error configuring Terraform AWS Provider: failed to get shared config profile, default",
    (
        "Error: Missing required argument\n\n  on main.tf line 12, in resource "
        '"aws_db_instance" "x":\n  12: resource "aws_db_instance" "x" {\n\nThe argument "password" '
        "is required, but no definition was found."
    ),
    'Error: Unsupported argument "token"',
    "The given value is not suitable for var.secret_name declared at variables.tf:3,1-23",
    'Secret "tokyo-vpc-vpc-connection" not found',
    "cannot get referenced Secret fleet/tokyo-vpc-vpc-connection: key vpc_config",
    "password must be at least 8 characters",
    "Invalid password",
    "invalid password: must have 8 to 41 characters",
    "Invalid Password: It is too short",
    "invalid value for password: expected printable ASCII characters",
    "git error: signature=3 has no key",
    "the token has expired",
    "bearer of bad news",
    f'Get "https://{HOST}/api/v1/namespaces": dial tcp: lookup {HOST}: no such host',
    "https://terraform.example/providers/hashicorp/aws/latest/docs: connection refused",
    "dial tcp 10.0.0.1:443: i/o timeout",
    "VpcLimitExceeded: The maximum number of VPCs has been reached.",
    (
        "Error: deleting EC2 Subnet (subnet-0a1b2c3d4e5f67890): DependencyViolation: The subnet "
        "'subnet-0a1b2c3d4e5f67890' has dependencies and cannot be deleted."
    ),
    "ami-0abcdef1234567890 does not exist",
    "Error locking state: lock ID 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 mismatch",
    "user@example.com is not subscribed",
    "例え: 容量不足",
]


def _failing(message: str, name: str = WORKSPACE) -> Objects:
    return changed(
        ready(), "Workspace", name, {"status": {"conditions": conditions(synced=message)}}
    )


def _output(done: Run) -> str:
    """All that people see of a run: status, Events, verdicts, reprs."""
    bodies = [
        each.body
        for each in done.writes
        if each.subresource == "status" and each.target.kind in ("CAPTControlPlane", "Cluster")
    ]
    events = [(each.message, each.body) for each in done.events]
    return "\n".join(
        [repr(done.passes), repr(bodies), repr(events), *(each.message for each in done.events)]
        + [each.decision.verdict.message for each in done.passes]
    )


@pytest.mark.parametrize("case", CREDENTIALS)
@pytest.mark.parametrize("name", [WORKSPACE, GENERATOR, CHECK])
def test_a_credential_in_a_provider_s_error_is_redacted(name: str, case: str) -> None:
    """In condition, lastFailureMessage, Event, verdict and every repr, from each Workspace."""
    message, hidden = CREDENTIALS[case]
    done = run(_failing(message, name))
    assert done.last.verdict.reason != "Ready"
    assert [part for part in hidden if part in _output(done)] == []


@pytest.mark.parametrize("case", CREDENTIALS)
def test_a_credential_in_the_message_of_ready_is_redacted(case: str) -> None:
    """The message of Ready=False is reported too, and the apply's mirror of it."""
    message, hidden = CREDENTIALS[case]
    entries = [condition("Ready", False, "Creating", message)]
    own = changed(waiting(), "Workspace", WORKSPACE, {"status": {"conditions": entries}})
    mirrored = changed(
        waiting(),
        "WorkspaceTemplateApply",
        f"{WORKSPACE}-apply",
        {"status": {"conditions": entries}},
    )
    for objects in (own, mirrored):
        done = run(objects)
        assert done.last.verdict.reason == "WorkspaceError"
        assert [part for part in hidden if part in _output(done)] == []


def test_the_rest_of_the_message_is_kept() -> None:
    """A person has to see what went wrong, and where something was left out."""
    done = run(_failing(f"login to db-7 failed: password=hunter2-canary for {KEY_ID}, attempt 3"))
    message = done.last.verdict.message
    assert message.startswith("login to db-7 failed: password=")
    assert message.endswith(", attempt 3")
    assert "hunter2" not in message


@pytest.mark.parametrize("message", ERRORS)
def test_a_real_error_passes_as_it_is(message: str) -> None:
    """No word of it is left out, in condition, Event and verdict."""
    done = run(_failing(message))
    assert done.last.verdict.message == message
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert status["conditions"][0]["message"] == message
    [event] = done.events
    assert event.message == message


def test_redaction_is_idempotent_and_settles() -> None:
    """The loop compares what it would write with what stands there: no further write."""
    for message, _ in CREDENTIALS.values():
        done = run(_failing(message))
        assert run(done.objects).writes == ()


def test_a_credential_across_the_limit_of_a_message_is_redacted_before_the_cut() -> None:
    """The cut must not turn half a key into harmless text."""
    text = "x" * (32768 - 16) + f" password={SECRET_KEY}"
    done = run(_failing(text))
    assert SECRET_KEY[:6] not in _output(done)
    event_text = "x" * (1024 - 16) + f" password={SECRET_KEY}"
    events = run(_failing(event_text)).events
    assert [each for each in events if SECRET_KEY[:4] in each.message] == []


def test_a_long_message_is_redacted_at_once() -> None:
    """No pattern backtracks over a large error."""
    for text in (
        "a" * 10**5,
        "password" * 10**4,
        "://" * 10**4,
        "-----BEGIN " * 10**4,
        "=" * 10**5,
    ):
        assert run(_failing(text)).last.verdict.reason == "WorkspaceError"


# What leaves the Secrets on purpose.


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        (f"https://user:hunter2-canary@{HOST}", f"https://{HOST}"),
        (f"https://user:hunter2-canary@{HOST}:6443", f"https://{HOST}:6443"),
        (f"https://user@{HOST}", f"https://{HOST}"),
        (f"https://us%40er:hun:ter2-canary@{HOST}/", f"https://{HOST}/"),
        (f"https://a@b:hunter2-canary@{HOST}", f"https://{HOST}"),
    ],
)
def test_user_info_of_an_endpoint_stays_in_its_secret(text: str, variable: str) -> None:
    """The variable gets the URL without it; neither object nor message shows it."""
    objects = changed(provided(), "Workspace", WORKSPACE, {"status": {"atProvider": None}})
    for held in (text, base64_of(text)):
        data = {"data": {"cluster_endpoint": base64_of(held)}}
        done = run(changed(objects, "Secret", "tokyo-eks-connection", data))
        apply = done.find("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")
        assert apply["spec"]["variables"]["cluster_endpoint"] == variable
        endpoint = done.find("CAPTControlPlane", "tokyo")["spec"]["controlPlaneEndpoint"]
        assert endpoint["host"] == HOST
        sent = repr([each.body for each in done.writes if each.target.kind != "Secret"])
        assert "canary" not in sent + _output(done)
        assert base64_of(text) not in sent


def test_an_event_of_another_kind_keeps_its_text() -> None:
    """Our own messages hold no credentials and are not searched for them."""
    done = run(changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}}))
    [event] = done.events
    assert event.reason == "VersionNotPassedOn"
    assert WORKSPACE in event.message

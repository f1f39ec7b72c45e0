"""What proves to storage who asks: Kerberos tickets, grid proxies, tokens; whether they last."""

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from hepcnn.doctor.commands import ask
from hepcnn.doctor.finding import Finding
from hepcnn.doctor.mounts import Mount

SHORT_S = 12 * 3600.0
"""Less than this is said: a batch of jobs takes a night."""
S3 = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "FSSPEC_S3_ANON")
XROOTD, TOKENED = ("root", "roots", "xroot", "xroots"), ("https", "davs", "dav")
RENEW = {"kerberos": "kinit", "grid proxy": "voms-proxy-init", "token": "get a new one (oidc-token, htgettoken)"}


def examine_credentials(addresses: Iterable[str], mount: Mount | None = None) -> Iterator[Finding]:
    """Whether what the study's files need is there and lasts.

    Parameters
    ----------
    addresses
        The study's files; paths on disk need nothing.
    mount
        The file system of the work folder: AFS takes a ticket.

    Notes
    -----
    A server may ask for nothing, so nothing at all is a warning; what is there but over is a failure.
    """
    protocols = {address.partition("://")[0] for address in addresses if "://" in address}
    has_afs = mount is not None and "afs" in mount.kind
    if protocols & {*XROOTD} or has_afs:
        found = [time_left for time_left in (_read_ticket(), _read_proxy(), _read_token()) if time_left is not None]
        yield from (_judge(*one) for one in found)
        if not found:
            detail = f"neither a Kerberos ticket, a grid proxy nor a token, for {'AFS' if has_afs else 'root://'}"
            yield Finding("credentials", False, detail, False, "kinit or voms-proxy-init, unless all is public")
    elif protocols & {*TOKENED} and (token := _read_token()) is not None:
        yield _judge(*token)
    if "s3" in protocols and not any(os.environ.get(name) for name in S3) and not _home(".aws/credentials").exists():
        detail = "no AWS_ACCESS_KEY_ID, AWS_PROFILE or ~/.aws/credentials, for s3://"
        yield Finding("credentials", False, detail, False, "set them; for a public bucket FSSPEC_S3_ANON=true")


def _judge(what: str, seconds: float) -> Finding:
    if seconds <= 0:
        return Finding(what, False, "has expired", mend=RENEW[what])
    left = f"lasts {seconds / 3600:.1f} h more"
    if seconds < SHORT_S:
        return Finding(what, False, left, False, f"long studies need more: {RENEW[what]}")
    return Finding(what, True, left)


def _home(name: str) -> Path:
    return Path(os.environ.get("HOME", "/")) / name


def _read_ticket() -> tuple[str, float] | None:
    """Seconds that the Kerberos ticket lasts; 0 for one that is over."""
    if shutil.which("klist") is None or not (listed := ask(["klist"])).is_good:
        return None
    if not ask(["klist", "-s"]).is_good:
        return "kerberos", 0.0
    # As in: 11/21/26 10:00:00  11/22/26 11:00:00  krbtgt/CERN.CH@CERN.CH
    ends = re.findall(r"\S+ \S+ +(\d\d/\d\d/\d+ \d\d:\d\d:\d\d) +krbtgt/", listed.output)
    for layout in ("%m/%d/%y %H:%M:%S", "%m/%d/%Y %H:%M:%S"):
        try:
            return "kerberos", max(time.mktime(time.strptime(end, layout)) for end in ends) - time.time()
        except ValueError:
            continue
    return "kerberos", SHORT_S


def _read_proxy() -> tuple[str, float] | None:
    """Seconds that the grid proxy lasts."""
    if shutil.which("voms-proxy-info") is not None:
        answer = ask(["voms-proxy-info", "-timeleft"])
        if answer.is_good and answer.output.strip().lstrip("-").isdigit():
            return "grid proxy", float(answer.output.strip())
    path = os.environ.get("X509_USER_PROXY") or f"/tmp/x509up_u{os.getuid()}"
    if not Path(path).exists() or shutil.which("openssl") is None:
        return None
    answer = ask(["openssl", "x509", "-noout", "-enddate", "-in", path])
    try:
        end = time.strptime(answer.output.strip().removeprefix("notAfter="), "%b %d %H:%M:%S %Y GMT")
    except ValueError:
        return "grid proxy", 0.0
    import calendar

    return "grid proxy", calendar.timegm(end) - time.time()


def _read_token() -> tuple[str, float] | None:
    """Seconds that the bearer token lasts (WLCG's order of places); its signature is the server's business."""
    token = os.environ.get("BEARER_TOKEN", "")
    places = [os.environ.get("BEARER_TOKEN_FILE"), f"{os.environ.get('XDG_RUNTIME_DIR', '/tmp')}/bt_u{os.getuid()}"]
    for place in places:
        if not token and place and Path(place).is_file():
            token = Path(place).read_text(encoding="utf-8", errors="replace").strip()
    if not token:
        return None
    try:
        body = token.split(".")[1]
        content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return "token", float(content["exp"]) - time.time()
    except (IndexError, KeyError, TypeError, ValueError):
        return "token", SHORT_S

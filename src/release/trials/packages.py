"""Installs real packages and uses each of them; run by the Python under test at /opt/python.

    packages.py bootstrap ORDER    brings uv to /writable/uv
    packages.py install ORDER      makes the environment of ORDER and installs each package into it, from the index
    packages.py use ORDER          uses each package in the environment's own Python; needs no network
    packages.py one NAME           what `use` starts there

ORDER is a JSON object: `environment` (base, venv, copies), `installer` (pip, uv), `packages` (name to requirement), `pins` (name to
version, dependencies too). Prints one line a package, as `trial.rs` reads them: a word, a tab, the package, a tab, a detail. /writable and
/tmp are writable, and /opt/python where the environment is `base`.
"""

import ast
import json
import os
import subprocess
import sys
import sysconfig
import threading

PYTHON = "/opt/python/bin/python3"
UV = "/writable/uv/bin/uv"
AUTHORITY, SERVER = "/trial/authority.pem", "/trial/server.pem"
OFFLINE = ("NewConnectionError", "Max retries exceeded", "Could not fetch URL", "ConnectTimeout", "Failed to fetch", "dns error",
           "error sending request", "Network is unreachable", "Temporary failure in name resolution", "SSLCertVerificationError")
REFUSED = ("No matching distribution found", "ResolutionImpossible", "No solution found when resolving")


def say(word, name, detail=""):
    print(word, name, " ".join(str(detail).split())[:600], sep="\t", flush=True)


def run(args, **options):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    return done.returncode, done.stdout.decode(errors="replace")


def configure():
    """uv listens to pip's configuration, where it has none of its own."""
    code, text = run([PYTHON, "-m", "pip", "config", "list"])
    told = {}
    for line in text.splitlines() if code == 0 else []:
        name, _, value = line.partition("=")
        try:
            told[name.rsplit(".", 1)[-1].replace("_", "-")] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            continue
    for ours, theirs in (("UV_DEFAULT_INDEX", "index-url"), ("UV_INDEX", "extra-index-url"), ("UV_FIND_LINKS", "find-links"),
                         ("UV_NO_INDEX", "no-index"), ("UV_INSECURE_HOST", "trusted-host"), ("UV_HTTP_TIMEOUT", "default-timeout"),
                         ("SSL_CERT_FILE", "cert")):
        if told.get(theirs):
            os.environ.setdefault(ours, " ".join(told[theirs].split()))


def bootstrap(order):
    code, text = run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", "/writable/uv",
                      *order["packages"].values()])
    if code == 0:
        code, text = run([UV, "--version"])
    word = "ok" if code == 0 else "offline" if any(sign in text for sign in OFFLINE) else "FAIL"
    say(word, "uv", text.splitlines()[-1] if text.strip() else f"exit {code}")


def place(order):
    return "" if order["environment"] == "base" else f"/writable/{order['installer']}-{order['environment']}"


def interpreter(order):
    return PYTHON if order["environment"] == "base" else place(order) + "/bin/python"


def create(order):
    if order["environment"] == "base":
        return
    if order["installer"] == "uv" and order["environment"] == "venv":
        command = [UV, "venv", "--quiet", "--python", PYTHON, place(order)]
    else:
        command = [PYTHON, "-m", "venv", *(["--copies"] if order["environment"] == "copies" else []), place(order)]
    code, text = run(command)
    if code != 0:
        sys.exit(f"{' '.join(command)}: exit {code}: {text[-600:]}")


def install(order):
    configure()
    create(order)
    constraints = f"/writable/constraints-{order['installer']}-{order['environment']}"
    with open(constraints, "w") as file:
        file.writelines(f"{name}=={version}\n" for name, version in order["pins"].items())
    python = interpreter(order)
    if order["installer"] == "pip":
        command = [python, "-m", "pip", "install", "--quiet", "--no-warn-script-location", "--no-compile"]
    else:
        command = [UV, "pip", "install", "--quiet", "--python", python, "--break-system-packages"]
    for name, requirement in order["packages"].items():
        code, text = run([*command, "--only-binary", ":all:", "--constraint", constraints, requirement])
        if code == 0:
            say("ok", name)
        elif "Traceback (most recent call last)" in text or code < 0:
            say("FAIL", name, f"{order['installer']} crashed, exit {code}: {text[-500:]}")
        elif any(sign in text for sign in OFFLINE):
            say("offline", name, text.strip().splitlines()[-1])
        elif any(sign in text for sign in REFUSED):
            say("none", name, message(text))
        else:
            say("FAIL", name, f"exit {code}: {text[-500:]}")


def message(text):
    """The installer's own words, without those about what it tried before."""
    lines = text.strip().splitlines()
    for sign in REFUSED:
        for at, line in enumerate(lines):
            if sign in line:
                return " ".join(lines[at:at + 4])
    return lines[-1]


def use(order):
    configured = {"PATH": os.path.dirname(interpreter(order)), "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
    for name in order["packages"]:
        try:
            code, text = run([interpreter(order), __file__, "one", name], env=configured, timeout=120)
        except subprocess.TimeoutExpired:
            say("FAIL", name, "still running after two minutes")
            continue
        if code == 0:
            say("ok", name, text.strip().splitlines()[-1])
        else:
            say("FAIL", name, f"exit {code}: {text[-500:]}")


def need(condition, message):
    if not condition:
        raise AssertionError(message)


def from_extension(module):
    need(module.__file__.endswith(sysconfig.get_config_var("EXT_SUFFIX")) or ".so" in module.__file__, f"{module.__file__} is no extension")


def numpy():
    import concurrent.futures
    import numpy as np

    random = np.random.default_rng(1)
    matrix, vector = random.random((300, 300)), random.random(300)
    need(np.allclose(matrix @ np.linalg.solve(matrix, vector), vector), "solve is wrong")
    u, s, v = np.linalg.svd(matrix)
    need(np.allclose(u * s @ v, matrix), "svd is wrong")
    need(np.allclose(np.fft.ifft(np.fft.fft(vector)).real, vector), "fft is wrong")
    wanted = matrix @ matrix
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        need(all(np.allclose(got, wanted) for got in pool.map(lambda _: matrix @ matrix, range(16))), "threads disagree")


def pandas():
    import io
    import pandas as pd

    frame = pd.DataFrame({"key": ["a", "b", "a"], "value": [1.5, 2.0, 3.0], "day": pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin")})
    need(frame.groupby("key")["value"].sum().to_dict() == {"a": 4.5, "b": 2.0}, "groupby is wrong")
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), parse_dates=["day"])
    need(again["value"].sum() == 6.5 and len(again.merge(frame, on="key")) == 5, "csv or merge is wrong")


def cryptography():
    import datetime
    import ssl
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    key.public_key().verify(key.sign(b"words"), b"words")
    try:
        key.public_key().verify(key.sign(b"words"), b"other")
    except InvalidSignature:
        pass
    else:
        raise AssertionError("a wrong signature is right")
    fernet = Fernet(Fernet.generate_key())
    need(fernet.decrypt(fernet.encrypt(b"secret")) == b"secret", "fernet is wrong")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    now = datetime.datetime(2026, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=2100)).sign(key, hashes.SHA256())
    # Its own OpenSSL and that of the ssl module, in one process.
    ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


def pydantic():
    import typing
    from pydantic import BaseModel, ValidationError

    class Point(BaseModel):
        x: int
        names: typing.List[str] = []

    text = '{"x": "3", "names": ["a"]}'
    # The last version without an extension module is 1.10.
    told = Point.model_validate_json(text).model_dump() if hasattr(Point, "model_dump") else Point.parse_raw(text).dict()
    need(told == {"x": 3, "names": ["a"]}, f"{told}")
    try:
        Point(x="many")
    except ValidationError as error:
        need("valid integer" in str(error), str(error))
    else:
        raise AssertionError("many is a number")


def lxml():
    import xml.etree.ElementTree
    from lxml import etree, html

    tree = etree.fromstring("<a><b n='1'>x</b><b n='2'>y</b></a>")
    need(tree.xpath("string(b[@n=2])") == "y", "xpath is wrong")
    sheet = etree.XSLT(etree.fromstring(
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:output method="text"/>'
        '<xsl:template match="/"><xsl:value-of select="count(//b)"/></xsl:template></xsl:stylesheet>'))
    need(str(sheet(tree)) == "2", "xslt is wrong")
    need(html.fromstring("<p>one<p>two").xpath("count(//p)") == 2, "html is wrong")
    need(xml.etree.ElementTree.fromstring("<a/>").tag == "a", "expat is wrong")


def pillow():
    import io
    from PIL import Image, ImageDraw, features

    image = Image.new("RGB", (400, 300), (200, 30, 30))
    ImageDraw.Draw(image).text((20, 20), "hello", fill="white")
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        image.resize((100, 75), Image.LANCZOS).save(buffer, kind)
        again = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
        red = again.getpixel((90, 70))
        need(again.size == (100, 75) and red[0] > 180 and red[1] < 60, f"{kind}: {red}")
    return f"libjpeg {features.version('jpg')}"


def psutil():
    import psutil

    found = {process.pid: process.name() for process in psutil.process_iter()}
    need(os.getpid() in found, f"{os.getpid()} is not among {sorted(found)}")
    me = psutil.Process()
    need(me.memory_info().rss > 1 << 20 and me.num_threads() >= 1, "no memory, no threads")
    need(os.path.basename(me.exe()).startswith("python"), me.exe())
    need(psutil.virtual_memory().total > 1 << 26, "no memory")
    return f"{me.name()}, {len(found)} processes"


def requests():
    import http.server
    import ssl
    import requests

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"path": "%s"}' % self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://127.0.0.1:{server.server_port}/here"
    with requests.Session() as session:
        for _ in range(3):
            need(session.get(address, verify=AUTHORITY, timeout=20).json() == {"path": "/here"}, "another answer")
    os.environ["REQUESTS_CA_BUNDLE"] = AUTHORITY
    need(requests.get(address, timeout=20).ok, "REQUESTS_CA_BUNDLE is not respected")
    del os.environ["REQUESTS_CA_BUNDLE"]
    try:
        requests.get(address, timeout=20)
    except requests.exceptions.SSLError:
        server.shutdown()
    else:
        raise AssertionError("a stranger is trusted")


def uvloop():
    import asyncio
    import uvloop

    async def main():
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        need(isinstance(asyncio.get_running_loop(), uvloop.Loop), "another loop")
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        server.close()
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE)
        need((await child.communicate())[0] == b"42\n", "a child said something else")
        return line

    loop = uvloop.new_event_loop()
    need(loop.run_until_complete(main()) == b"HELLO\n", "wrong echo")
    loop.close()


def markupsafe():
    import markupsafe._speedups
    from markupsafe import escape

    from_extension(markupsafe._speedups)
    need(str(escape("<a & b>")) == "&lt;a &amp; b&gt;", "not escaped")


def jinja2():
    import jinja2

    page = jinja2.Environment(autoescape=True).from_string("{% for i in n %}{{ i }},{% endfor %}")
    need(page.render(n=[1, "<"]) == "1,&lt;,", page.render(n=[1, "<"]))


def orjson():
    import orjson

    need(orjson.loads(orjson.dumps({"a": [1, 2.5, None, "\u00e9"]})) == {"a": [1, 2.5, None, "\u00e9"]}, "data changed")


def regex():
    import regex._regex
    import regex as again

    from_extension(regex._regex)
    need(again.findall(r"\p{Lu}+", "ABC def \u00c9") == ["ABC", "\u00c9"], "other matches")
    need(again.fullmatch(r"(?:hello){e<=1}", "helo"), "no fuzzy match")


def msgpack():
    import msgpack._cmsgpack

    from_extension(msgpack._cmsgpack)
    need(msgpack.unpackb(msgpack.packb({"a": [1, b"x"]})) == {"a": [1, b"x"]}, "data changed")


def websockets():
    import asyncio
    import websockets.speedups
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    from_extension(websockets.speedups)

    async def echo(connection):
        async for text in connection:
            await connection.send(text[::-1])

    async def main():
        async with serve(echo, "127.0.0.1", 0) as server:
            port = list(server.sockets)[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
                await client.send("hello" * 1000)
                return await client.recv()

    need(asyncio.run(main()) == ("hello" * 1000)[::-1], "wrong echo")


def zstandard():
    import zstandard

    data = os.urandom(1000) * 100
    packed = zstandard.ZstdCompressor(level=9, threads=2).compress(data)
    need(zstandard.ZstdDecompressor().decompress(packed) == data and len(packed) < 5000, "data changed")
    return zstandard.backend


def pyyaml():
    import yaml

    need(yaml.__with_libyaml__, "without its extension")
    need(yaml.load("a: [1, 2.5, yes]", Loader=yaml.CSafeLoader) == {"a": [1, 2.5, True]}, "other data")


def one(name):
    import importlib.metadata

    told = globals()[name]()
    print(importlib.metadata.version(name) + (f", {told}" if told else ""))


if __name__ == "__main__":
    act, given = sys.argv[1:]
    if act == "one":
        # Packages are not to be found beside this file.
        sys.path.pop(0)
        one(given)
    else:
        {"bootstrap": bootstrap, "install": install, "use": use}[act](json.loads(given))

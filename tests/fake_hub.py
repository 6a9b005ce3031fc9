"""A stand-in for the Hugging Face Hub on 127.0.0.1, in memory, with the standard library only.

    with FakeHub() as hub:
        subprocess.run([...], env=os.environ | hub.env(tmp_path))  # read when the libraries are imported
        hub.repos["me/ldnet"].files()  # {path: bytes} of the last commit

It answers what uploading and loading a model asks: create a repository, commit (small files inline, large
ones through LFS), branches and tags, information, trees, and downloads with ranges. It knows no data sets, no
Xet and no pull requests.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"
USER = "me"
LFS_SUFFIXES = (".safetensors", ".bin", ".pt")
WRITES = ("POST", "PUT", "DELETE")
REPO = r"(?P<repo>[^/]+/[^/]+)"
API = rf"/api/models/{REPO}"


@dataclass
class Repo:
    """Commits, each with the whole tree, and names that point at them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, tree, message, branch="main"):
        sha = hashlib.sha1(f"{len(self.commits)} {message} {sorted(tree)}".encode()).hexdigest()
        self.commits[sha] = tree
        self.messages.append(message)
        self.refs[branch] = sha
        return sha

    def sha(self, revision):
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def files(self, revision="main"):
        return self.commits[self.sha(revision)]


class NotFound(Exception):
    """Its text is the Hub's error code."""


def is_large(path):
    return path.endswith(LFS_SUFFIXES)


def etag(path, data):
    return (hashlib.sha256 if is_large(path) else hashlib.sha1)(data).hexdigest()


def entry(path, data):
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()} | (
        {"lfs": large} if is_large(path) else {}
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    @property
    def hub(self):
        return self.server.hub

    def reply(self, code, body=b"", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        defaults = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in (defaults | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self):
        body, path = self.body(), urlsplit(self.path).path
        with self.hub.lock:
            self.hub.log.append(f"{self.command} {path}")
            allowed = path.startswith("/lfs/") or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if self.command in WRITES and not allowed:
                return self.reply(401, {"error": "bad token"})
            for methods, pattern, function in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in methods.split():
                    try:
                        return function(self, body, **{k: unquote(v) for k, v in match.groupdict("").items()})
                    except NotFound as error:
                        return self.reply(404, {"error": str(error)}, X_Error_Code=str(error))
        return self.reply(404, {"error": f"no route {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def find(self, repo, revision="main"):
        if repo not in self.hub.repos:
            raise NotFound("RepoNotFound")
        sha = self.hub.repos[repo].sha(revision)
        if sha is None:
            raise NotFound("RevisionNotFound")
        return self.hub.repos[repo], sha

    def create(self, body):
        asked = json.loads(body)
        repo = f"{asked.get('organization') or USER}/{asked['name']}"
        known = repo in self.hub.repos
        if not known:
            self.hub.repos[repo] = Repo()
            self.hub.repos[repo].commit({}, "initial commit")
        self.reply(409 if known else 200, {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def validate_yaml(self, body):
        valid = json.loads(body)["content"].startswith("---\n")
        problems = [] if valid else [{"message": "no front matter", "line": 1}]
        self.reply(200 if valid else 400, {"errors": problems, "warnings": []})

    def preupload(self, body, repo, revision):
        self.find(repo, revision)
        modes = [
            {
                "path": f["path"],
                "uploadMode": "lfs" if is_large(f["path"]) else "regular",
                "shouldIgnore": False,
            }
            for f in json.loads(body)["files"]
        ]
        self.reply(200, {"files": modes})

    def lfs_batch(self, body, repo):
        objects = [{"oid": o["oid"], "size": o["size"]} for o in json.loads(body)["objects"]]
        for o in objects:
            if o["oid"] not in self.hub.lfs:
                o["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}", "header": {}}}
        self.reply(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            return self.reply(400, {"error": "sha256 mismatch"})
        self.hub.lfs[oid] = body
        return self.reply(200)

    def commit(self, body, repo, revision):
        found, sha = self.find(repo, revision)
        tree, message = dict(found.commits[sha]), ""
        for line in filter(None, body.split(b"\n")):
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
            elif operation["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                tree[value["path"]] = self.hub.lfs[value["oid"]]
            else:
                return self.reply(400, {"error": f"unknown operation {operation['key']}"})
        new = found.commit(tree, message, revision)
        return self.reply(200, {"commitOid": new, "commitUrl": f"{self.hub.url}/{repo}/commit/{new}"})

    def info(self, body, repo, revision="main"):
        found, sha = self.find(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(found.commits[sha])]
        self.reply(
            200, {"_id": "1", "id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []}
        )

    def tree(self, body, repo, revision, folder=""):
        found, sha = self.find(repo, revision)
        prefix = f"{folder}/" if folder else ""
        self.reply(200, [entry(p, d) for p, d in sorted(found.commits[sha].items()) if p.startswith(prefix)])

    def branch(self, body, repo, name):
        found, sha = self.find(repo)
        known = name in found.refs
        found.refs.setdefault(name, sha)
        self.reply(409 if known else 200, {})

    def tag(self, body, repo, revision):
        found, sha = self.find(repo, revision)
        found.refs[json.loads(body)["tag"]] = sha
        self.reply(200, {})

    def resolve(self, body, repo, revision, path):
        found, sha = self.find(repo, revision)
        data = found.commits[sha].get(path)
        if data is None:
            return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        headers = {"X_Repo_Commit": sha, "ETag": f'"{etag(path, data)}"', "Accept_Ranges": "bytes"}
        headers["Content_Type"] = "application/octet-stream"
        if is_large(path):
            headers |= {"X_Linked_Etag": headers["ETag"], "X_Linked_Size": str(len(data))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked or self.command == "HEAD":
            return self.reply(200, data, **headers)
        first, last = int(asked[1]), int(asked[2] or len(data) - 1)
        headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
        return self.reply(206, data[first : last + 1], **headers)


ROUTES = [
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate_yaml),
    ("POST", API + r"/preupload/(?P<revision>.+)", Handler.preupload),
    ("POST", API + r"/commit/(?P<revision>.+)", Handler.commit),
    ("POST", API + r"/branch/(?P<name>.+)", Handler.branch),
    ("POST", API + r"/tag/(?P<revision>.+)", Handler.tag),
    ("GET", API + r"/revision/(?P<revision>.+)", Handler.info),
    ("GET", API + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", Handler.tree),
    ("GET", API, Handler.info),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_put),
    ("GET HEAD", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]


class FakeHub:
    def __init__(self):
        self.repos, self.lfs, self.log, self.lock = {}, {}, [], threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def env(self, home):
        """Environment of a process that talks to this hub; `home` is its cache."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",  # or uploads ask for an Xet server
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

"""Published folders load in a fresh process that has no `ldnet`: from disk, the Hub and its cache."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from fake_hub import FakeHub

TEXTS = ["Tim works for Apple in Cupertino.", "", "Ada and Åse wrote to a place of the person."]
SCHEMA = {"entities": ["person", "organization"], "relations": [{"type": "works for", "head": ["person"]}]}
THRESHOLD = 0.45
REPO = "me/ldnet-tiny"

# Takes `ldnet` away, whether it is installed as usual or editable.
WITHOUT_PACKAGE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ldnet":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
# What a model answers, as plain tensors, dicts and lists.
ANSWER = """
import torch
torch.set_num_threads(1)
def answer(model, processor, pipe, texts, schema, threshold):
    with torch.no_grad():
        output = model(**processor([t for t in texts if t], schema), return_logits=True)
    logits = {"hidden": output.last_hidden_state}
    for part in (output.link_logits, output.relevance_logits, output.links):
        fields = part._asdict() if hasattr(part, "_asdict") else vars(part)
        logits |= {f"{type(part).__name__}.{k}": v for k, v in fields.items() if isinstance(v, torch.Tensor)}
    return {"logits": logits, "results": [dict(r) for r in pipe(texts, schema=schema, threshold=threshold)]}
"""
LOAD = """
import json, os, sys
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline
source, out, texts, schema, threshold = json.loads(sys.argv[1])
trust = {"trust_remote_code": True}
config = AutoConfig.from_pretrained(source, **trust)
model = AutoModel.from_pretrained(source, **trust).eval()
processor = AutoProcessor.from_pretrained(source, **trust)
pipe = pipeline(model=source, device="cpu", **trust)
assert isinstance(model.config, type(config)) and type(pipe.model) is type(model), "classes exist twice"
assert type(pipe.processor) is type(processor), "classes exist twice"
assert type(pipe).__name__ == "UniversalIEPipeline" and pipe.task == "universal-ie"
assert not any(name.partition(".")[0] == "ldnet" for name in sys.modules), "the package was used"
torch.save(answer(model, processor, pipe, texts, schema, threshold), f"{out}/answer.pt")
model.save_pretrained(f"{out}/parts")
processor.save_pretrained(f"{out}/parts")
pipe = pipeline(model=source, device="cpu", dtype=torch.float32, **trust)
pipe.save_pretrained(f"{out}/pipeline")
pipe = pipeline(model=f"{out}/pipeline", device="cpu", **trust)
torch.save(answer(pipe.model, pipe.processor, pipe, texts, schema, threshold), f"{out}/again.pt")
"""

PUSH = """
import json, sys, torch
import ldnet
from transformers import AutoModel, AutoProcessor, pipeline
source, repo = json.loads(sys.argv[1])
model, processor = AutoModel.from_pretrained(source), AutoProcessor.from_pretrained(source)
pipe = pipeline("universal-ie", model=model, processor=processor, device="cpu")
pipe.push_to_hub(repo, commit_message="First")
"""


@pytest.fixture
def child(tmp_path):
    """`child(code, arguments, **env)`: run Python in a neutral directory, offline unless `env` differs."""
    neutral = tmp_path / "neutral"
    neutral.mkdir()

    def run(code, arguments=(), *, fails=False, **env):
        base = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PYTHON", "TRANSFORMERS_"))}
        base |= {"HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
        base |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(arguments)],
            env=base | env,
            cwd=neutral,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) == fails, done.stderr[-3000:]
        return done

    return run


@pytest.fixture
def load(child, tmp_path):
    """`load(source, name, **env)`: load, save, load again without the package; the answers and new folder."""

    def run(source, name, **env):
        out = tmp_path / name
        out.mkdir()
        child(WITHOUT_PACKAGE + ANSWER + LOAD, [str(source), str(out), TEXTS, SCHEMA, THRESHOLD], **env)
        return [torch.load(out / f"{name}.pt", weights_only=True) for name in ("answer", "again")], out

    return run


@pytest.fixture
def expected():
    """`expected(pipe)`: the answer of objects in this process."""
    space = {}
    exec(ANSWER, space)
    return lambda pipe: space["answer"](pipe.model, pipe.processor, pipe, TEXTS, SCHEMA, THRESHOLD)


@pytest.fixture
def published(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(
        tmp_path / "tiny-model.v1"
    )  # hyphen and dot: transformers rewrites such names
    return tmp_path / "tiny-model.v1"


def assert_same_answers(answers, expected):
    assert any(result["entities"] for result in expected["results"])
    assert any(result["relations"] for result in expected["results"])
    for answer in answers:
        assert answer["results"] == expected["results"]
        assert answer["logits"].keys() == expected["logits"].keys()
        for name, tensor in expected["logits"].items():
            assert torch.equal(answer["logits"][name], tensor), name


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_files(folder, expected):
    actual, wanted = contents(folder), contents(expected)
    assert actual.keys() == wanted.keys()
    assert [name for name in wanted if actual[name] != wanted[name]] == []


@pytest.mark.parametrize("kind", ["bert", "deberta-v2"])  # prefix and full attention
def test_folder_without_package_answers_equally_and_saves_itself_again(
    kind, make_model, make_processor, load, expected, tmp_path
):
    from ldnet import UniversalIEPipeline

    model = make_model(kind)
    pipe = UniversalIEPipeline(model=model, processor=make_processor(model.config), device="cpu")
    pipe.save_pretrained(tmp_path / "first")

    answers, out = load(tmp_path / "first", "second")

    assert_same_answers(answers, expected(pipe))
    assert_same_files(out / "parts", tmp_path / "first")
    assert_same_files(out / "pipeline", tmp_path / "first")


def test_cache_of_the_hub_loads_offline(published, load, tiny_pipeline, expected, tmp_path):
    sha = hashlib.sha1(b"revision").hexdigest()
    cache = tmp_path / "home" / "hub" / f"models--{REPO.replace('/', '--')}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(sha)
    (cache / "snapshots").mkdir()
    published.rename(cache / "snapshots" / sha)

    answers, out = load(REPO, "out")

    assert_same_answers(answers, expected(tiny_pipeline))
    assert_same_files(out / "parts", cache / "snapshots" / sha)


def test_pushed_pipeline_loads_from_the_hub_and_then_offline(
    child, load, published, tiny_pipeline, expected, tmp_path
):
    with FakeHub() as hub:
        child(PUSH, [str(published), REPO], **hub.env(tmp_path / "home"))
        files, messages = hub.repos[REPO].files(), hub.repos[REPO].messages
        online, _ = load(REPO, "online", **hub.env(tmp_path / "home"))
    offline, _ = load(REPO, "offline")

    assert messages == ["initial commit", "First"]  # everything in one commit
    card = files.pop("README.md").decode()
    assert f'pipeline(model="{REPO}"' in card
    assert files == {name: data for name, data in contents(published).items() if name != "README.md"}
    assert_same_answers([*online, *offline], expected(tiny_pipeline))


def test_second_push_keeps_the_card_of_the_repository(child, published, tmp_path):
    again = """
from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=b"---\\n---\\nby hand", path_in_repo="README.md", repo_id=repo)
with torch.no_grad():
    model.link_head.projection.weight.zero_()
pipe.push_to_hub(repo)
model.push_to_hub(f"{repo}-model", processor=processor, revision="candidate", tags=["news"])
model.save_pretrained("ldnet-saved", push_to_hub=True, commit_message="Saved")
processor.push_to_hub("ldnet-processor")
"""
    with FakeHub() as hub:
        child(PUSH + again.replace("\\\\", "\\"), [str(published), REPO], **hub.env(tmp_path / "home"))

    everything = contents(published).keys()
    repo = hub.repos[REPO]
    assert repo.files()["README.md"] == b"---\n---\nby hand"
    first, last = list(repo.commits.values())[1], repo.files()
    assert first["model.safetensors"] != last["model.safetensors"]
    branch = hub.repos[f"{REPO}-model"]
    assert branch.files("main") == {}
    assert branch.files("candidate").keys() == everything
    assert b"- news\n" in branch.files("candidate")["README.md"]
    weights = everything - {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert hub.repos["me/ldnet-saved"].files().keys() == weights
    assert hub.repos["me/ldnet-saved"].messages[-1] == "Saved"
    assert hub.repos["me/ldnet-processor"].files().keys() == everything - {"config.json", "model.safetensors"}


def test_without_trust_the_code_is_not_run_and_nothing_waits_for_an_answer(child, published):
    (published / "ldnet_remote.py").write_text("raise SystemExit('the code was run')")
    code = (
        "import json; from transformers import AutoModel; AutoModel.from_pretrained(json.loads(sys.argv[1]))"
    )

    done = child(WITHOUT_PACKAGE + code, str(published), fails=True)

    assert "the code was run" not in done.stderr
    assert "trust_remote_code=True" in done.stderr


def test_installed_package_needs_no_trust_and_brings_a_default_model(
    child, published, tiny_pipeline, expected, tmp_path
):
    code = """
import json, sys
import ldnet
from transformers import AutoModel, AutoProcessor, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
source, out, texts, schema, threshold = json.loads(sys.argv[1])
default = PIPELINE_REGISTRY.check_task("universal-ie")[1]["default"]
assert default == {"model": (str(ldnet.model_cards.DEFAULT_MODEL_FOLDER), None)}
default["model"] = (source, None)  # the tiny one, whose answer is known
model, processor = AutoModel.from_pretrained(source).eval(), AutoProcessor.from_pretrained(source)
assert type(model) is ldnet.LDNetModel and type(processor) is ldnet.LDNetProcessor
pipes = [
    pipeline("universal-ie", model=model, processor=processor, device="cpu"),
    pipeline(model=source, trust_remote_code=True, device="cpu"),
    pipeline("universal-ie", device="cpu"),
]
answers = [answer(model, processor, pipe, texts, schema, threshold) for pipe in pipes]
torch.save(answers, f"{out}/answers.pt")
"""
    child(ANSWER + code, [str(published), str(tmp_path), TEXTS, SCHEMA, THRESHOLD])

    assert_same_answers(torch.load(tmp_path / "answers.pt", weights_only=True), expected(tiny_pipeline))

"""Documents: each token once an epoch, none seen from another document; the same alone, packed and decoded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import Said, experiment, loop

from jaxnets import continuations, predictions
from jaxnets.data import Data, Texts, evaluation_batches, load
from jaxnets.data.documents import packed
from jaxnets.errors import DataError
from jaxnets.generate import generate
from jaxnets.inspection import check
from jaxnets.models import GPT, gpt
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling, language_modelling

TEXTS = ["to be", "or not to be, that is the question", "é", "whether 'tis nobler", "in the mind to suffer"] * 8
END = 256


def write(path, texts=TEXTS):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_each_token_and_each_end_is_predicted_once_from_its_own_document(tmp_path):
    dataset = load(Data(source=f"documents:{write(tmp_path / 'd.jsonl')}", context=8, batch_size=4, valid=0.2))
    check(dataset, batch_size=4)
    assert dataset.schema.vocabulary_size == END + 1 and dataset.schema.separator == END
    task, found = language_modelling(END + 1, separator=END), []
    for split in dataset.splits.values():
        stream, counted, first = [], 0, True
        for batch in evaluation_batches(split, 3, workers=0):
            inputs, targets, weight = task.prepare(jax.tree.map(jnp.asarray, batch), train=False, key=None)
            kept = np.asarray(weight) > 0
            stream += np.asarray(targets)[kept].tolist()
            counted += int(kept.sum())
            assert not first or int(inputs[0, 0]) == END
            first = False
        texts = bytes(0 if token == END else token for token in stream).decode().split("\0")
        assert texts.pop() == "" and counted == len(stream)  # each document has its end, the last one too
        found += texts
    assert sorted(found) == sorted(TEXTS)
    for _ in range(2):  # the splits are a pure function of the config
        again = load(Data(source=f"documents:{tmp_path / 'd.jsonl'}", context=8, batch_size=4, valid=0.2))
        np.testing.assert_array_equal(again.splits["train"].arrays["tokens"], dataset.splits["train"].arrays["tokens"])


def test_files_folders_and_tokenizers(tmp_path):
    for number, text in enumerate(TEXTS[:5]):
        for split in ("train", "test"):
            path = tmp_path / "folder" / split / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    how = {"context": 6, "batch_size": 1, "valid": 0.0, "texts": Texts(tokenizer="bpe", size=280, least=1)}
    folder = load(Data(source=f"documents:{tmp_path / 'folder'}", **how))
    write(tmp_path / "a_train.jsonl", TEXTS[:5])
    write(tmp_path / "a_test.jsonl", TEXTS[:5])
    files = load(Data(source=f"documents:{tmp_path}/a_{{train,test}}.jsonl", **how))
    assert folder.schema.vocabulary_size == files.schema.vocabulary_size > END + 1
    for split in ("train", "test"):
        np.testing.assert_array_equal(folder.splits[split].arrays["tokens"], files.splits[split].arrays["tokens"])
    (tmp_path / "folder" / "train" / "9.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"train/9.txt, row 0: it is not UTF-8"):
        load(Data(source=f"documents:{tmp_path / 'folder'}", **how))


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_document_gives_the_same_alone_and_packed(positions):
    model = gpt(11, context=16, width=16, depth=2, heads=2, positions=positions, separator=10)
    documents = [np.array([1, 2, 3, 4]), np.array([5]), np.array([6, 7, 8, 9, 1])]
    whole = jnp.asarray(packed(documents, 15, separator=10).astype(np.int32)[None])
    params, state = model.init(jax.random.key(0), whole)
    params = jax.tree.map(lambda leaf: leaf * 4.0, params)  # far from uniform, so that what is seen shows
    apply = jax.jit(model.apply)
    outputs, place = apply(params, state, whole)[0], 0
    for document in documents:
        alone = np.full((1, 16), 10, np.int32)
        alone[0, 1 : len(document) + 1] = document
        expected = apply(params, state, jnp.asarray(alone))[0][0, : len(document) + 1]
        np.testing.assert_allclose(outputs[0, place : place + len(document) + 1], expected, rtol=1e-4, atol=1e-4)
        place += len(document) + 1
    plain = gpt(11, context=16, width=16, depth=2, heads=2, positions=positions)
    assert not np.allclose(plain.apply(params, state, whole)[0][0, 6:], outputs[0, 6:], atol=1e-2)


def test_cached_decoding_sees_what_whole_windows_see():
    model = gpt(4, context=24, width=16, depth=1, heads=2, positions="learned", separator=3)
    prompt = jnp.asarray([[3, 0, 1, 3, 2], [3, 1, 1, 2, 2]])
    params, state = model.init(jax.random.key(0), prompt)
    params = jax.tree.map(lambda leaf: leaf * 4.0, params)
    how = {"key": jax.random.key(1), "max_tokens": 19, "context": 24}
    cached = generate(model, params, state, prompt, **how)
    assert (np.asarray(cached[:, 5:]) == 3).any()  # a document ends on the way
    np.testing.assert_array_equal(cached, generate(model._replace(cache=None), params, state, prompt, **how))


def test_a_run_on_documents_predicts_and_writes(tmp_path):
    one = experiment(
        data=Data(
            source=f"documents:{write(tmp_path / 'd.jsonl')}", context=16, batch_size=8, valid=0.1, test=0.2,
            texts=Texts(tokenizer="words", least=1),
        ),
        model=GPT(context=16, width=16, depth=1, heads=2),
        task=LanguageModelling(),
        loop=loop(steps=80),
    )  # fmt: skip
    folder = run(one, tmp_path / "run", progress=Said()).run_dir
    (tmp_path / "d.jsonl").unlink()
    written = continuations.write(folder, "or not to", continuations.Sampling(tokens=12, temperature=0.0))
    assert written.texts == ["or not to be , that is the question"]  # and there it ends
    (tmp_path / "p.txt").write_text("or not")
    predictions.predict_files(folder, [tmp_path / "p.txt"], out=tmp_path / "p.jsonl")
    assert json.loads((tmp_path / "p.jsonl").read_text())["probability"] > 0.5
    assert "to be" in (folder / "report.html").read_text()

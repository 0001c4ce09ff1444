"""Files of media: found in a fixed order with their classes and splits; a row that names none says which it is."""

import pytest

from jaxnets.data.listing import Listing, list_files
from jaxnets.data.reader import Bad
from jaxnets.errors import DataError


def listed(name, policy="stop", **more) -> Listing:
    return list_files(str(name), kind="audio", suffixes=(".wav", ".ogg"), bad=Bad(policy, most=9), **more)


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_a_folder_of_classes_is_sorted_and_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "9/b.wav", "9/a.WAV", "10/deep/c.ogg", "10/notes.txt", "9/.hidden.wav", ".git/x.wav", "README.md")
    found = listed(tmp_path)
    assert found.paths == ("10/deep/c.ogg", "9/a.WAV", "9/b.wav") and found.splits == ()
    assert found.classes == ("9", "10") and found.labels.tolist() == [1, 0, 0]
    before = found.known_by()
    touch(tmp_path, "9/z.wav")
    assert listed(tmp_path).known_by() != before == found.known_by()
    touch(tmp_path, "loose.wav")
    with pytest.raises(DataError, match="loose.wav lies in no folder of a class"):
        listed(tmp_path)


def test_folders_of_splits_and_folders_without_classes(tmp_path):
    touch(tmp_path, "train/cat/a.wav", "train/dog/b.wav", "val/cat/c.wav", "test/dog/d.wav")
    found = listed(tmp_path)
    assert found.splits == ("test", "train", "train", "valid") and found.classes == ("cat", "dog")
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert listed(tmp_path / "train" / "cat").labels is None  # files alone
    touch(tmp_path, "other/cat/e.wav")  # then train, val and test are classes like it
    assert listed(tmp_path).splits == () and listed(tmp_path).classes == ("other", "test", "train", "val")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_paths(tmp_path, suffix):
    import pandas as pd

    touch(tmp_path, "a/x.wav", "a/y.wav", "z.wav")
    rows = {"file": ["z.wav", "a/y.wav", "./a/x.wav"], "class": [3, 1, 1], "who": ["ann", None, "bob"]}
    frame = pd.DataFrame(rows | {"split": ["test", "train", "dev"]})
    path = tmp_path / f"t.{suffix}"
    match suffix:
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case "parquet":
            frame.to_parquet(path)
        case _:
            frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    found = listed(path)
    assert found.paths == ("z.wav", "a/y.wav", "a/x.wav") and found.root == tmp_path  # as the table has them
    assert found.classes == ("1", "3") and found.labels.tolist() == [1, 0, 0]
    assert found.splits == ("test", "train", "valid") and dict(found.columns) == {"who": ("ann", None, "bob")}
    assert listed(path, label_column="who", policy="skip").classes == ("ann", "bob")


@pytest.mark.parametrize(
    "row, words",
    [
        ("../x.wav,1", r"t.csv, row 1: '../x.wav' lies outside"),
        ("a/../../x.wav,1", "row 1: .* lies outside"),
        ("/etc/x.wav,1", "row 1: .* lies outside"),
        ("b.wav,1", "row 1: 'b.wav' is not there"),
        ("t.csv,1", "row 1: 't.csv' does not end in .wav, .ogg"),
        (",1", "row 1: has no path"),
        ("a.wav,", "row 1: has no label"),
        ("./a.wav,1", "row 1: ./a.wav stands in row 0 already"),
    ],
)
def test_a_row_that_names_no_file_is_named_or_left_out(tmp_path, row, words):
    touch(tmp_path, "a.wav", "c.wav")
    (tmp_path / "t.csv").write_text(f"path,label\na.wav,0\n{row}\nc.wav,2\n")
    with pytest.raises(DataError, match=words):
        listed(tmp_path / "t.csv")
    found = listed(tmp_path / "t.csv", "skip")
    assert found.paths == ("a.wav", "c.wav") and found.classes == ("0", "2")


def test_what_is_no_listing_says_what_would_be_one(tmp_path):
    with pytest.raises(DataError, match="audio:.*nowhere: there is no such folder .* nor a table"):
        listed(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no file that ends in .wav, .ogg"):
        listed(tmp_path)
    (tmp_path / "t.csv").write_text("name,label\na.wav,0\n")
    with pytest.raises(DataError, match="has no column of paths: path, file, .* it has name, label"):
        listed(tmp_path / "t.csv")
    with pytest.raises(DataError, match="has no column paths; it has name, label"):
        listed(tmp_path / "t.csv", path_column="paths")

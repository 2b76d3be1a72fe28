"""Checkpoints: what is saved comes back; anything else is a one-line error that names the file."""

import pytest
import safetensors.torch
import torch

from realm_edge.checkpoint import load_student, load_teacher, read_tensors, save_student, save_teacher, write_tensors
from realm_edge.errors import UserError
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.settings import ModelSettings

SETTINGS = ModelSettings(d_model=16, n_layer=2, d_state=8, headdim=8)


@pytest.fixture
def student_file(tmp_path):
    torch.manual_seed(0)
    save_student(tmp_path / "student.safetensors", Student(SETTINGS, 6, 2), {"data": "abc"})
    return tmp_path / "student.safetensors"


def refused(load, path):
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_channel_tokenizers_come_back_with_their_kinds(tmp_path):
    settings = SETTINGS.model_copy(update={"tokenizer": "channel"})
    student, teacher = Student(settings, 6, 2, kinds=3).eval(), Teacher(settings, [6, 9], kinds=3).eval()
    save_student(tmp_path / "student.safetensors", student, {})
    save_teacher(tmp_path / "teacher.safetensors", teacher, {})
    x = torch.randn(1, 20, 6)
    loaded = load_student(tmp_path / "student.safetensors")
    assert loaded.settings == settings and loaded.channels == 2
    assert torch.equal(loaded(x), student(x))
    assert torch.equal(load_teacher(tmp_path / "teacher.safetensors")(x), teacher(x))
    metadata, tensors = read_tensors(tmp_path / "student.safetensors")
    tensors["maps.conv.weight"] = torch.zeros(8, 4, 3)
    write_tensors(tmp_path / "student.safetensors", tensors, metadata)
    assert "'maps.conv.weight' of shape [8, 4, 3] fits no 6 features" in refused(load_student, tmp_path / "student.safetensors")


def test_a_checkpoint_from_before_there_was_a_choice_of_tokenizer_loads(student_file):
    metadata, tensors = read_tensors(student_file)
    del metadata["model"]["tokenizer"]
    write_tensors(student_file, tensors, metadata)
    assert load_student(student_file).settings == SETTINGS


def test_student_comes_back(student_file):
    torch.manual_seed(0)
    saved, loaded = Student(SETTINGS, 6, 2), load_student(student_file)
    assert loaded.settings == SETTINGS and not loaded.training
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert read_tensors(student_file)[0]["made_from"] == {"data": "abc"}


def test_teacher_comes_back(tmp_path):
    path = tmp_path / "teacher.safetensors"
    teacher = Teacher(SETTINGS, [6])
    save_teacher(path, teacher, {})
    loaded = load_teacher(path)
    x = torch.randn(1, 20, 6)
    assert torch.equal(loaded(x), teacher.eval()(x))


@pytest.mark.parametrize("keep", [0, 4, 8, 200, -1])
def test_truncated(student_file, keep):
    student_file.write_bytes(student_file.read_bytes()[:keep])
    assert "truncated" in refused(load_student, student_file)


def test_missing(tmp_path):
    assert "realm-edge train" in refused(load_student, tmp_path / "none.safetensors")


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    assert "did not write" in refused(load_student, path)


def test_not_safetensors_at_all(tmp_path):
    path = tmp_path / "text.safetensors"
    path.write_text("this is no tensor file, but it is longer than eight bytes")
    refused(load_student, path)


def test_teacher_where_a_student_is_wanted(student_file):
    assert "expected a 'teacher'" in refused(load_teacher, student_file)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_found(student_file, where):
    content = bytearray(student_file.read_bytes())
    content[int(where * len(content))] ^= 1
    student_file.write_bytes(content)
    said = refused(load_student, student_file)
    assert "SHA-256 differs" in said or "truncated" in said


def test_content_of_another_file_is_found(student_file, tmp_path):
    with safetensors.safe_open(student_file, "pt") as opened:
        about, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    tensors["head.bias"], tensors["feature_mean"] = tensors["head.bias"] + 1, tensors["feature_mean"] - 1
    safetensors.torch.save_file(tensors, student_file, about)
    assert "SHA-256 differs" in refused(load_student, student_file)


@pytest.mark.parametrize("damage", ["missing tensor", "wrong shape", "other model", "broken model", "missing statistics"])
def test_inconsistent_content(student_file, damage):
    metadata, tensors = read_tensors(student_file)
    match damage:
        case "missing tensor":
            del tensors["head.bias"]
        case "wrong shape":
            tensors["head.weight"] = tensors["head.weight"][:, :-1]
        case "other model":
            metadata["model"]["n_layer"] = 3
        case "broken model":
            metadata["model"]["headdim"] = 7
        case "missing statistics":
            del tensors["feature_mean"]
    write_tensors(student_file, tensors, metadata)
    refused(load_student, student_file)

"""Folder trees as training leaves them: small files of the real formats, for tests that look at whole folders."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tests.files import recording, recordings
from tests.formats.build import Tensor, gpt_half, sovits_half, torch_zip


def gpt(path: Path, *, epoch: int = 15, rows: int = 732) -> Path:
    """Write a GPT half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(torch_zip({**gpt_half(rows), "info": f"GPT-e{epoch}"}))
    return path


def sovits(path: Path, *, version: str = "v2", epoch: int = 8, step: int = 200, head: bytes = b"PK") -> Path:
    """Write a SoVITS half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {**sovits_half(version), "info": f"{epoch}epoch_{step}iteration"}
    path.write_bytes(torch_zip(tree, head=head))
    return path


def pair(
    root: Path, voice: str, *, family: str = "_v2", epoch: int = 15, step: int = 200
) -> tuple[Path, Path]:
    """Write both halves of a voice where the WebUI puts them."""
    return (
        gpt(root / f"GPT_weights{family}" / f"{voice}-e{epoch}.ckpt", epoch=epoch),
        sovits(root / f"SoVITS_weights{family}" / f"{voice}_e8_s{step}.pth", step=step),
    )


def rvc(path: Path, *, epoch: int = 200, **extra: Any) -> Path:
    """Write a voice of RVC, as its `weights/` holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weight = {
        "enc_p.emb_phone.weight": Tensor.flat(192, 768),
        "enc_p.emb_pitch.weight": Tensor.flat(256, 192),
        "emb_g.weight": Tensor.flat(109, 256),
        "dec.conv_pre.weight": Tensor.flat(512, 192, 7),
    }
    tree = {
        "weight": weight,
        "config": [1025, 32],
        "info": f"{epoch}epoch",
        "sr": "40k",
        "f0": 1,
        "version": "v2",
    }
    path.write_bytes(torch_zip({**tree, **extra}))
    return path


def so_vits_svc(path: Path, *, step: int = 30_000) -> Path:
    """Write a voice of so-vits-svc 4.1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {
        "pre.weight": Tensor.flat(192, 768, 5),
        "enc_p.f0_emb.weight": Tensor.flat(256, 192),
        "emb_g.weight": Tensor.flat(200, 768),
    }
    path.write_bytes(torch_zip({"model": model, "iteration": step, "optimizer": None, "learning_rate": 1e-4}))
    return path


def settings(path: Path, *speakers: str) -> Path:
    """Write the settings of a so-vits-svc voice."""
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    people = {name: number for number, name in enumerate(speakers)}
    root = {"train": {"seed": 1}, "data": {"sampling_rate": 44100}, "model": {"ssl_dim": 768}, "spk": people}
    path.write_text(json.dumps(root), encoding="utf-8")
    return path


def index(path: Path, *, dimension: int = 8, lists: int = 2, vectors: int = 5) -> Path:
    """Write an index of faiss as RVC does: IVF over a flat quantizer, with `vectors` vectors in the first list."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def header(count: int) -> bytes:
        return struct.pack("<iqqq?i", dimension, count, 1 << 20, 1 << 20, True, 1)

    quantizer = b"IxF2" + header(lists) + struct.pack("<Q", lists * dimension) + bytes(4 * lists * dimension)
    direct = struct.pack("<BQ", 0, 0)
    sizes = [vectors] + [0] * (lists - 1)
    inverted = b"ilar" + struct.pack("<QQ4sQ", lists, 4 * dimension, b"full", lists)
    inverted += b"".join(struct.pack("<Q", size) for size in sizes) + bytes(vectors * (4 * dimension + 8))
    path.write_bytes(b"IwFl" + header(vectors) + struct.pack("<QQ", lists, 1) + quantizer + direct + inverted)
    return path


def webui(root: Path) -> Path:
    """Make a project of GPT-SoVITS with two voices, their recordings, a list of clips, and what else lies about."""
    pair(root, "lin", epoch=10)
    pair(root, "lin", epoch=15, step=400)
    pair(root, "mei", family="_v2Pro")
    sliced = root / "output" / "slicer_opt"
    recordings(sliced, seed=1, count=3)
    recording(sliced / "five.wav", seed=9, seconds=5.0)
    lines = [f"D:\\GPT-SoVITS\\output\\slicer_opt\\take-{n}.wav|slicer_opt|ZH|第{n}句" for n in range(3)]
    lines.append("D:\\GPT-SoVITS\\output\\slicer_opt\\five.wav|slicer_opt|ZH|五秒的一句话")
    listed = root / "output" / "asr_opt" / "slicer_opt.list"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    log = root / "logs" / "lin"
    recordings(log / "5-wav32k", seed=1, count=1)
    (log / "3-bert").mkdir()
    (log / "3-bert" / "take-0.wav.pt").write_bytes(b"PK\x03\x04 not looked at")
    names = "".join(
        f"{name}\tph\tw2p\ttext\n" for name in ("take-0.wav", "take-1.wav", "take-2.wav", "five.wav")
    )
    (log / "2-name2text.txt").write_text(names, encoding="utf-8")
    recordings(root / "raw" / "mei", seed=2, count=2)
    (root / "requirements.txt").write_text("torch==2.4.0\nnumpy==1.26.4\n", encoding="utf-8")
    gpt(root / "GPT_SoVITS" / "pretrained_models" / "s1v3.ckpt")
    return root

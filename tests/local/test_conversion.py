"""A BERT model made here, converted to GGUF: llama.cpp computes what its weights say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.numpy import save_file

from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines.gguf_conversion import bert_to_gguf
from azinfer.local.engines.llama import GgufEmbeddings, engine_of

WIDTH, INNER, LAYERS, HEADS, POSITIONS = 64, 128, 2, 2, 64
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "##s", "the"]
FACTS = {
    "max_position_embeddings": POSITIONS,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS),
}
Tensors = dict[str, np.ndarray]


def draw_weights() -> Tensors:
    """The weights of a BERT by the names of its files; what is not used for vectors too."""
    random = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings": (len(WORDS), WIDTH),
        "embeddings.position_embeddings": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings": (2, WIDTH),
        "pooler.dense": (WIDTH, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        names = [f"attention.self.{each}" for each in ("query", "key", "value")]
        shapes |= dict.fromkeys((at + each for each in names), (WIDTH, WIDTH))
        shapes |= {f"{at}attention.output.dense": (WIDTH, WIDTH)}
        shapes |= {f"{at}intermediate.dense": (INNER, WIDTH), f"{at}output.dense": (WIDTH, INNER)}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    tensors: Tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = random.normal(0, 0.2, shape).astype(np.float32)
        if not name.startswith("embeddings"):
            tensors[f"{name}.bias"] = random.normal(0, 0.2, shape[:1]).astype(np.float32)
    for name in norms:
        tensors[f"{name}.weight"] = random.normal(1, 0.1, WIDTH).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, WIDTH).astype(np.float32)
    return {**tensors, "embeddings.position_ids": np.arange(POSITIONS)[None]}


def compute_vector(tensors: Tensors, words: list[str]) -> Any:
    """The vector of a text as the paper on BERT has it, the mean of the last layer."""

    def linear(x: Any, name: str) -> Any:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def normalize(x: Any, name: str) -> Any:
        spread = np.sqrt(x.var(-1, keepdims=True) + FACTS["layer_norm_eps"])
        x = (x - x.mean(-1, keepdims=True)) / spread
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    tokens = [WORDS.index(word) for word in ("[CLS]", *words, "[SEP]")]
    x = tensors["embeddings.word_embeddings.weight"][tokens]
    x = x + tensors["embeddings.position_embeddings.weight"][: len(tokens)]
    x = normalize(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        query, key, value = (
            linear(x, f"{at}attention.self.{name}")
            .reshape(len(tokens), HEADS, -1)
            .transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH / HEADS))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(len(tokens), WIDTH)
        x = normalize(
            x + linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm"
        )
        inner = linear(x, f"{at}intermediate.dense")
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
        x = normalize(x + linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
    vector = x.mean(0)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return draw_weights()


@pytest.fixture(scope="module")
def gguf_file(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as GGUF."""
    folder = tmp_path_factory.mktemp("bert")
    save_file(tensors, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "config.json").write_text(json.dumps(FACTS))
    bert_to_gguf(
        folder / "model.safetensors",
        folder / "vocab.txt",
        folder / "config.json",
        folder / "tiny.gguf",
        "tiny",
    )
    return folder / "tiny.gguf"


def test_a_converted_model_computes_the_vectors_of_its_weights(
    tensors: Tensors, gguf_file: Path
) -> None:
    engine = engine_of(gguf_file)
    assert isinstance(engine, GgufEmbeddings)
    texts = {"the cats": ["the", "cat", "##s"], "dog": ["dog"], "cat dog": ["cat", "dog"]}
    with (
        LocalEndpoint([LocalDeployment("tiny", engine=engine)]) as endpoint,
        InferenceClient(endpoint.url, endpoint.key, "tiny") as client,
    ):
        answer = client.embed(list(texts))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 5 + 3 + 4
    result = np.array([list(vector) for vector in answer.vectors])
    right = np.array([compute_vector(tensors, words) for words in texts.values()])
    likeness = result @ right.T
    # Weights of 8 bits differ a little; another text differs much.
    assert likeness.diagonal().min() > 0.999
    assert likeness[~np.eye(len(texts), dtype=bool)].max() < 0.99


def test_a_converted_model_keeps_its_matrices_in_8_bits_and_no_pooler(gguf_file: Path) -> None:
    reader = GGUFReader(gguf_file)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.1.attn_q.weight"] == kinds["token_embd.weight"] == "Q8_0"
    assert kinds["position_embd.weight"] == kinds["blk.0.attn_q.bias"] == "F32"
    assert len(kinds) == 5 + 16 * LAYERS
    assert reader.fields["general.name"].contents() == "tiny"

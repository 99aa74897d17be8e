"""A BERT model in safetensors as a GGUF file that llama.cpp reads.

Source: the GGUF specification, section "Standardized key-value pairs", and llama.cpp's own
converter, whose library `gguf` names the tensors.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file


def bert_to_gguf(tensors: Path, vocabulary: Path, config: Path, target: Path, name: str) -> None:
    """Write a sentence encoder of the BERT family, its matrices in 8 bits.

    Args:
        tensors: The weights, as safetensors.
        vocabulary: One WordPiece per line.
        config: The model's `config.json`.
        target: The file to write.
        name: What the model is called.
    """
    facts = json.loads(config.read_text("utf-8"))
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name(name)
    writer.add_context_length(facts["max_position_embeddings"])
    writer.add_embedding_length(facts["hidden_size"])
    writer.add_block_count(facts["num_hidden_layers"])
    writer.add_feed_forward_length(facts["intermediate_size"])
    writer.add_head_count(facts["num_attention_heads"])
    writer.add_layer_norm_eps(facts["layer_norm_eps"])
    writer.add_token_type_count(facts["type_vocab_size"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_vocabulary(writer, vocabulary.read_text("utf-8").split("\n")[: facts["vocab_size"]])
    _add_tensors(writer, tensors, facts["num_hidden_layers"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    special = [word.startswith("[") and word.endswith("]") for word in words]
    types = [gguf.TokenType.CONTROL if each else gguf.TokenType.NORMAL for each in special]
    # llama.cpp marks the beginning of a word; WordPiece marks its continuation.
    tokens = [
        word if each else word[2:] if word.startswith("##") else f"\u2581{word}"
        for word, each in zip(words, special, strict=True)
    ]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_mask_token_id(words.index("[MASK]"))


def _add_tensors(writer: gguf.GGUFWriter, tensors: Path, blocks: int) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, blocks)
    for name, tensor in load_file(tensors).items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None or name.startswith("pooler"):
            continue  # llama.cpp counts positions itself, and a mean does not need a pooler
        data = tensor.astype(np.float32)
        if data.ndim == 2 and not {"position_embeddings", "token_type_embeddings"} & set(
            name.split(".")
        ):
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(known, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(known, data)

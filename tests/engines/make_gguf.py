"""
Write a tiny Llama with random weights as a GGUF file: `python make_gguf.py FILE`.

Runs in the environment of llama.cpp (PyPI's gguf), not in the project's. Its tokens are the bytes.
"""

import sys

import gguf
import numpy

LAYERS, WIDTH, HEADS, KEY_HEADS, INNER, CONTEXT = 2, 64, 4, 2, 128, 4096
SPECIAL = ("<unk>", "<s>", "</s>")
TOKENS = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]


def describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-llama")
    writer.add_context_length(CONTEXT)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    writer.add_token_types([*kinds, *[gguf.TokenType.BYTE] * 256])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def shapes() -> dict[str, tuple[int, ...]]:
    keys = WIDTH // HEADS * KEY_HEADS
    block = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (keys, WIDTH),
        "attn_v": (keys, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
    ends = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,), "output": (len(TOKENS), WIDTH)}
    return ends | {f"blk.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in block.items()}


def main(path: str) -> None:
    random = numpy.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer)
    for name, shape in shapes().items():
        values = random.normal(0.0, 0.1, shape) if len(shape) > 1 else numpy.ones(shape)
        writer.add_tensor(f"{name}.weight", values.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])

"""
Train a tiny Llama with random weights by the Hugging Face Trainer, with perwatt's example callback.

    python train.py FOLDER URL JOB GPU ROWS ROW_TOKENS EPOCHS

Runs in the environment of vLLM, with `examples` and `cli/perwatt` on its path, and asks no hub. It ends by
printing how many tokens the Trainer itself has seen.
"""

import sys

import torch
from huggingface_trainer import PerwattCallback
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

VOCABULARY = 64


class Noise(Dataset):
    def __init__(self, rows: int, row_tokens: int) -> None:
        self._rows = torch.randint(
            0, VOCABULARY, (rows, row_tokens), generator=torch.Generator().manual_seed(0)
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self._rows[row], "labels": self._rows[row]}


def main(folder: str, url: str, job: str, gpu: int, rows: int, row_tokens: int, epochs: int) -> None:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=4,
        num_train_epochs=epochs,
        include_num_input_tokens_seen="all",
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    callback = PerwattCallback(job, gpus=[gpu], url=url, interval_seconds=0.1)
    trainer = Trainer(
        model=LlamaForCausalLM(config),
        args=arguments,
        train_dataset=Noise(rows, row_tokens),
        callbacks=[callback],
    )
    trainer.train()
    print(f"tokens seen: {trainer.state.num_input_tokens_seen}")


if __name__ == "__main__":
    folder, url, job, *numbers = sys.argv[1:]
    main(folder, url, job, *map(int, numbers))

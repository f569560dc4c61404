"""The least that trains an adapter: PEFT and a loop. `python -m tests.benchmarks.bare_peft_loop FOLDER` takes a training job's folder.

The same model, dtype, token sequences, order and steps as the trainer's, padded as everybody does it, and a line at the end of each step.
"""

import sys
from pathlib import Path

import msgspec
import torch
from peft import get_peft_model
from torch.nn.utils.rnn import pad_sequence

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.batches import IGNORED
from ml_service.training.dataset import read_examples, split_by_time
from ml_service.training.lora import load_model, lora_config, precision
from ml_service.training.sft import sequences_of, steps_of
from ml_service.training.spec import SAMPLES, SPEC, TrainingSpec
from ml_service.training.stretches import STRETCH_TOKENS, Stretches


def main() -> None:
    folder = Path(sys.argv[1])
    spec = msgspec.json.decode((folder / SPEC).read_bytes(), type=TrainingSpec)
    renderer = ChatTemplateRenderer.load(spec.checkpoint)
    examples = read_examples(folder / SAMPLES, renderer, method="sft", max_length=spec.max_length)
    train = split_by_time(examples, spec.eval_fraction).train
    steps = steps_of(sequences_of(spec, train, Stretches(train, renderer, min(STRETCH_TOKENS, spec.max_length))))
    torch.manual_seed(spec.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = load_model(spec).to(device)
    model = get_peft_model(base, lora_config(spec, base)).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=spec.learning_rate, weight_decay=0.0)
    for number, step in enumerate(steps, start=1):
        ids = [torch.tensor(sequence.tokens, device=device) for sequence in step]
        labels = [torch.tensor(sequence.labels, device=device) for sequence in step]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision(spec) is torch.bfloat16):
            loss = model(
                input_ids=pad_sequence(ids, batch_first=True),
                attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
                labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED),
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {number} {float(loss):.3f}", flush=True)


if __name__ == "__main__":
    main()

"""The same models on two processes' samples: torchrun --nproc_per_node 2 torch_two_ranks.py."""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset

import ovcore as ov
from ovcore.adapters.torch_distributed import all_reduce

dist.init_process_group("gloo")  # or "nccl", with the models and batches on this process's GPU
rank, n_ranks = dist.get_rank(), dist.get_world_size()

images, digits = map(torch.from_numpy, load_digits(return_X_y=True))
images, n_train = images.float() / 16, 600
models = {}
for width in (4, 8, 16, 64):  # yours come from checkpoints: the same on all processes
    torch.manual_seed(width)
    layers = torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
    model = models[f"{width} hidden"] = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[:n_train]), digits[:n_train]).backward()
        optimizer.step()

# Not a DistributedSampler: it repeats samples until all processes have equally many.
mine = Subset(TensorDataset(images, digits), range(n_train + rank, len(images), n_ranks))
counts = ov.PairCounts.empty(len(models), ensembles=True)
with torch.inference_mode():
    for batch, target in DataLoader(mine, batch_size=256):
        logits = torch.stack([model(batch) for model in models.values()])
        counts += ov.PairCounts.from_outputs(logits, target, temperature=1.0)
total = all_reduce(counts)  # counts alone travel, never logits
if rank == 0:
    result = ov.Comparison.from_counts(total.errors, models=[*models], ensembles=total.ensembles)
    print(f"{total.n_samples} samples on {n_ranks} processes", result.table(), sep="\n")
dist.destroy_process_group()

"""A spiking network as a LightningModule, trained for a few epochs on the CPU."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tracetorch as tt


class Classifier(lightning.LightningModule):
    """Sequences [batch, time, 16] to one of 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), tt.snn.LIB(32),
                                 nn.Linear(32, 4), tt.snn.LI(4))

    def forward(self, x):
        return tt.scan(self.net, x.movedim(1, 0)).mean(0)    # loaders give [batch, time, ...]

    def on_train_batch_start(self, batch, batch_idx):
        tt.zero_states(self)

    def training_step(self, batch, batch_idx):
        x, label = batch
        loss = nn.functional.cross_entropy(self(x), label)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def main() -> None:
    torch.manual_seed(0)
    label = torch.arange(20) % 4
    x = torch.rand(20, 15, 16)
    x[torch.arange(20), :, label * 4] += 1.0        # what tells the classes apart
    model = Classifier()
    trainer = lightning.Trainer(max_epochs=8, accelerator="cpu", logger=False,
                                enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False)
    loader = DataLoader(TensorDataset(x, label), batch_size=8, shuffle=True)    # 8, 8 and 4
    trainer.fit(model, loader)
    tt.zero_states(model)
    with torch.no_grad():
        right = (model(x).argmax(1) == label).float().mean()
    print(f"{right:.0%} right after {trainer.current_epoch} epochs")


if __name__ == "__main__":
    main()

"""Other libraries that train such models: pythae 0.1.2, with the networks of our models; JAX has steps of its own."""

# pyright: reportMissingImports=false
from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from labelspace.models.vae import VAE


def has_pythae() -> bool:
    """Whether pythae is installed (``pip install 'labelspace[bench]'``)."""
    return importlib.util.find_spec("pythae") is not None


def has_jax() -> bool:
    """Whether JAX is installed (``pip install 'labelspace[bench]'``); see :mod:`labelspace.speed.jitted`."""
    return importlib.util.find_spec("jax") is not None


def pythae(model: VAE, x: Tensor, batch_size: int, passes: int = 1) -> float:
    """Samples a second of one pass of pythae's trainer over ``x``, checkpoints and logs left out.

    Args:
        model: whose networks are trained; they are changed.
        x: ``(n, *shape)`` float32 in [0, 1].
        batch_size: samples a step.
        passes: over ``x``.
    """
    with _quiet():
        from pythae import models
        from pythae.data.datasets import BaseDataset
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        class Encoder(BaseEncoder):
            def __init__(self) -> None:
                super().__init__()
                self.trunk, self.head = model.trunk, model.head.linear

            def forward(self, x: Tensor):
                mean, log_variance = self.head(self.trunk(x)).chunk(2, 1)
                return ModelOutput(embedding=mean, log_covariance=log_variance)

        class Decoder(BaseDecoder):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Sequential(model.decoder, nn.Sigmoid())

            def forward(self, z: Tensor):
                return ModelOutput(reconstruction=self.body(z))

        latent = model.blocks[0].size
        config = models.VAEConfig(input_dim=tuple(x.shape[1:]), latent_dim=latent, reconstruction_loss="bce")  # type: ignore[call-arg]
        theirs = models.VAE(model_config=config, encoder=Encoder(), decoder=Decoder())
        with tempfile.TemporaryDirectory() as out:
            training = BaseTrainerConfig(  # type: ignore[call-arg]
                output_dir=out, num_epochs=passes, per_device_train_batch_size=batch_size, learning_rate=1e-3, no_cuda=True
            )
            labels = torch.ones(len(x))
            trainer = BaseTrainer(model=theirs, train_dataset=BaseDataset(x, labels), training_config=training)
            trainer.prepare_training()
            began = time.perf_counter()
            for epoch in range(1, passes + 1):
                trainer.train_step(epoch)
            return passes * len(x) / (time.perf_counter() - began)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its logs, its progress bar and its warnings."""
    logging.getLogger("pythae").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield

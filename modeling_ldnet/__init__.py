"""LDNet: universal information extraction on HuggingFace transformers.

Importing this package tells `AutoConfig`, `AutoModel`, `AutoProcessor` and `pipeline` about LDNet.
"""

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.hub_ldnet import TASK
from ldnet.model_cards import DEFAULT_MODEL_FOLDER
from ldnet.modeling_ldnet import LDNetModel, LDNetOutput
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema, SchemaError

__version__ = "0.1.0"


def _register() -> None:
    """Make the auto classes and the task known; the embedded checkpoint is the task's default model."""
    AutoConfig.register(LDNetConfig.model_type, LDNetConfig, exist_ok=True)
    AutoModel.register(LDNetConfig, LDNetModel, exist_ok=True)
    AutoProcessor.register(LDNetConfig, LDNetProcessor, exist_ok=True)
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=UniversalIEPipeline,
        pt_model=AutoModel,
        default={"model": (str(DEFAULT_MODEL_FOLDER), None)},
        type="text",
    )


_register()

__all__ = [
    "LDNetConfig",
    "LDNetModel",
    "LDNetOutput",
    "LDNetProcessor",
    "Schema",
    "SchemaError",
    "UniversalIEPipeline",
]

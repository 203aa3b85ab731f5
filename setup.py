"""Packaging of gluon_tricks: ``pip install '.[cpu]'``, or ``make .venv`` for all it takes."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

setup(
    name='gluon_tricks',
    # Read, not imported: the package's dependencies are not there yet.
    version=re.search(r"^__version__ = '(.+)'$", (HERE / 'gluon_tricks/__init__.py').read_text(), re.M).group(1),
    description='Bag of Tricks for Image Classification with Convolutional Neural Networks, on MXNet and GluonCV',
    author='the gluon_tricks authors',
    license='Apache-2.0',
    packages=find_packages(include=['gluon_tricks', 'gluon_tricks.*']),
    package_data={'gluon_tricks': ['py.typed', 'models/timm_networks.json.gz', 'results/page.html.jinja']},
    entry_points={'console_scripts': ['gluon-tricks = gluon_tricks.__main__:main']},
    python_requires='>=3.8,<3.13',  # numpy 1, which MXNet needs, has no wheels for Python 3.13
    install_requires=[
        'gluoncv==0.10.5.post0',
        'numpy>=1.17,<2',
        'opencv-python>=4.5,<4.12',  # 4.12 needs numpy 2
        'tqdm',
    ],
    extras_require={
        # MXNet itself: one of these two, never both.
        'cpu': ['mxnet==1.9.1'],
        'cu112': [
            'mxnet-cu112==1.9.1',
            # CUDA 11 by the names that mxnet-cu112 was linked with; later wheels of some carry other names.
            'nvidia-cublas-cu11==11.10.3.66',
            'nvidia-cuda-nvrtc-cu11==11.7.99',
            'nvidia-cuda-runtime-cu11==11.7.99',
            'nvidia-cudnn-cu11==8.5.0.96',
            'nvidia-cufft-cu11==10.7.2.91',
            'nvidia-curand-cu11==10.2.10.91',
            'nvidia-cusolver-cu11==11.4.0.1',
            'nvidia-cusparse-cu11==11.7.4.91',
            'nvidia-nccl-cu11==2.14.3',
            'nvidia-nvtx-cu11==11.7.91',
        ],
        'demo': ['scikit-learn'],
        'interchange': ['safetensors'],
        'lint': ['mypy', 'ruff'],
        # As MLflow keeps runs by default, in SQLite.
        'mlflow': ['alembic; python_version >= "3.10"', 'mlflow-skinny>=3; python_version >= "3.10"',
                   'sqlalchemy; python_version >= "3.10"'],
        'notebook': ['jupytext', 'notebook'],
        # 1.19 and later lack onnx.mapping, which MXNet's translation needs; 1.17 is the last for Python 3.8.
        'onnx': ['onnx>=1.17,<1.19', 'onnxruntime'],
        'report': ['jinja2'],
        'tensorboard': ['tensorboardX'],
        'test': ['hypothesis', 'jinja2', 'jupytext', 'onnx>=1.17,<1.19', 'onnxruntime', 'pillow', 'pytest',
                 'pytest-xdist', 'safetensors', 'scikit-learn', 'tensorboardX'],
        'trackio': ['trackio>=0.30; python_version >= "3.10"'],
    },
)

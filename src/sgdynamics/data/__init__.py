"""Data sets and streams."""

from sgdynamics.data._cifar10 import cifar10 as cifar10
from sgdynamics.data._dataset import AbstractFiniteData as AbstractFiniteData
from sgdynamics.data._dataset import Data as Data
from sgdynamics.data._dataset import Dataset as Dataset
from sgdynamics.data._dataset import FreshLabels as FreshLabels
from sgdynamics.data._dataset import Teacher as Teacher
from sgdynamics.data._dataset import teacher_student as teacher_student
from sgdynamics.data._digits import digits as digits

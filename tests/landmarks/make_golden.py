"""Writes tests/data/landmarks/golden.safetensors: what LiteRT and MediaPipe compute from the published models.

Run `python tests/landmarks/make_golden.py FILE.task` in an environment with ai-edge-litert and mediapipe==0.10.21.
"""

import sys
import zipfile
from pathlib import Path

import mediapipe
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions
from pictures import ADMIRAL, ASTRONAUT, CROPS, part, picture
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from float_research.landmarks.points import BLENDSHAPE_POINTS

FILE = Path(__file__).parents[1] / "data" / "landmarks" / "golden.safetensors"


def litert(task: Path) -> dict[str, np.ndarray]:
    """Returns the outputs of each network for the same crops."""
    graphs = {}
    with zipfile.ZipFile(task) as bundle:
        for name in ("face_detector", "face_landmarks_detector", "face_blendshapes"):
            graphs[name] = Interpreter(model_content=bundle.read(f"{name}.tflite"))
            graphs[name].allocate_tensors()

    def run(name: str, value: np.ndarray) -> list[np.ndarray]:
        graph = graphs[name]
        graph.set_tensor(graph.get_input_details()[0]["index"], value.astype(np.float32))
        graph.invoke()
        return [graph.get_tensor(output["index"]) for output in graph.get_output_details()]

    made = {}
    for name in CROPS:
        points, presence, _ = run("face_landmarks_detector", part(name, 256)[None] / np.float32(255))
        made[f"{name}.points"], made[f"{name}.presence"] = points.reshape(478, 3), presence.reshape(1)
        made[f"{name}.blendshapes"] = run("face_blendshapes", points.reshape(1, 478, 3)[:, BLENDSHAPE_POINTS, :2])[0]
        boxes, logits = run("face_detector", part(name, 128)[None] / np.float32(127.5) - 1)
        best = np.argsort(-logits[0, :, 0])[:8]
        made[f"{name}.anchors"], made[f"{name}.boxes"] = best.astype(np.int32), boxes[0, best]
        made[f"{name}.logits"] = logits[0, best, 0]
    return made


def pipeline(task: Path) -> dict[str, np.ndarray]:
    """Returns what MediaPipe makes of whole pictures, in pixels."""
    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    made = {}
    with FaceLandmarker.create_from_options(options) as landmarker:
        for name, path in (("astronaut", ASTRONAUT), ("admiral", ADMIRAL)):
            image = picture(path)
            found = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
            size = np.array([image.shape[1], image.shape[0], image.shape[1]])
            points = np.array([[p.x, p.y, p.z] for p in found.face_landmarks[0]]) * size
            made[f"whole.{name}.points"] = points.astype(np.float32)
            scores = [action.score for action in found.face_blendshapes[0]]
            made[f"whole.{name}.blendshapes"] = np.array(scores, np.float32)
            made[f"whole.{name}.pose"] = np.array(found.facial_transformation_matrixes[0], np.float32)
    return made


if __name__ == "__main__":
    made = litert(Path(sys.argv[1])) | pipeline(Path(sys.argv[1]))
    save_file({name: np.ascontiguousarray(value) for name, value in made.items()}, FILE)

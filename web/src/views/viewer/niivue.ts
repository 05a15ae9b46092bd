// NiiVue for one pane: loads a coarse picture first, then the volume; keeps window, planes, mask, marks, crosshair.
import { MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { Layout } from "./state";
import type { Mark, Point } from "./volumes";

const SLICES: Record<Layout, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};
/** Opacity of the mask, as in the pictures of the server. */
const MASK_OPACITY = 0.35;
/** Distance (mm) from a plane within which a mark is drawn on it; ours. */
const NEAR_MM = 4;

export interface Shown {
  low: number;
  high: number;
  isLabel: boolean;
}

export class Pane {
  readonly nv: Niivue;
  private own = false;
  private marksShown = "";

  constructor(private readonly moved: (at: Point, value: number | undefined) => void) {
    this.nv = new Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isOrientationTextVisible: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      showAllOrientationMarkers: true,
      logLevel: "error",
      crosshairColor: [1, 0.75, 0, 0.8],
      crosshairWidth: 0.3,
      crosshairWidthUnit: "percent",
      crosshairGap: 6,
      backColor: [0, 0, 0, 1],
      fontColor: [1, 0.9, 0.2, 1],
      dragAndDropEnabled: false,
      isColorbar: false,
      isRuler: false,
      meshThicknessOn2D: NEAR_MM,
      showLegend: false,
      loadingText: "",
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    this.nv.onLocationChange = (location: unknown) => {
      const { mm, values } = location as { mm: number[]; values?: { value: number }[] };
      if (!this.own) this.moved([mm[0]!, mm[1]!, mm[2]!], values?.[0]?.value);
    };
  }

  async attach(canvas: HTMLCanvasElement): Promise<void> {
    await this.nv.attachToCanvas(canvas, true);
    canvas.setAttribute("tabindex", "-1"); // keys belong to the pane around it
    this.nv.setClipPlaneColor([0, 0, 0, 0]);
    this.nv.setClipPlane([0.1, 180, 20]); // opens the chest from the front
  }

  /** Puts a volume in the place of what is shown; the window stays. */
  async load(data: ArrayBuffer, shown: Shown): Promise<void> {
    const image = await image_(data, "volume.nii", shown.isLabel ? "freesurfer" : "gray", 1, shown.low, shown.high);
    if (!shown.isLabel) {
      image.cal_min = shown.low; // NiiVue takes a range of its own from the voxels otherwise
      image.cal_max = shown.high;
    }
    for (const volume of [...this.nv.volumes]) this.nv.removeVolume(volume);
    this.nv.addVolume(image);
  }

  async lay(data: ArrayBuffer, visible: boolean): Promise<void> {
    const image = await image_(data, "mask.nii", "red", visible ? MASK_OPACITY : 0, 0.5, 1);
    if (this.nv.volumes.length > 1) this.nv.removeVolume(this.nv.volumes[1]!);
    this.nv.addVolume(image);
  }

  window(low: number, high: number): void {
    const volume = this.nv.volumes[0];
    if (!volume || (volume.cal_min === low && volume.cal_max === high)) return;
    volume.cal_min = low;
    volume.cal_max = high;
    this.nv.updateGLVolume();
  }

  mask(visible: boolean): void {
    const opacity = visible ? MASK_OPACITY : 0;
    if (this.nv.volumes.length > 1 && this.nv.volumes[1]!.opacity !== opacity) this.nv.setOpacity(1, opacity);
  }

  planes(layout: Layout): void {
    if (this.nv.opts.sliceType !== SLICES[layout]) this.nv.setSliceType(SLICES[layout]);
  }

  goTo(at: Point): void {
    if (!this.nv.volumes.length) return;
    const place = this.nv.mm2frac(at);
    const now = this.nv.scene.crosshairPos;
    if ([0, 1, 2].every((i) => Math.abs(place[i]! - now[i]!) < 1e-5)) return;
    this.own = true;
    this.nv.scene.crosshairPos = place;
    this.nv.drawScene();
    this.own = false;
  }

  /** Where the crosshair stands, world mm; undefined before the first volume. */
  place(): Point | undefined {
    if (!this.nv.volumes.length) return undefined;
    const [x, y, z] = this.nv.frac2mm(this.nv.scene.crosshairPos);
    return [x!, y!, z!];
  }

  /** Spheres where a reader marked; nothing is drawn of an empty list. */
  marks(marks: Mark[]): void {
    const key = JSON.stringify(marks);
    if (key === this.marksShown) return;
    this.marksShown = key;
    for (const mesh of [...this.nv.meshes]) this.nv.removeMesh(mesh);
    if (!marks.length) return;
    const mesh = this.nv.loadConnectomeAsMesh({
      name: "marks",
      nodeColormap: "cool",
      nodeColormapNegative: "cool",
      nodeMinColor: 0,
      nodeMaxColor: 1,
      nodeScale: 1,
      edgeColormap: "gray",
      edgeColormapNegative: "gray",
      edgeMin: 1,
      edgeMax: 2,
      edgeScale: 0,
      nodes: marks.map(({ x, y, z, diameter_mm }, i) => ({
        name: String(i),
        x,
        y,
        z,
        colorValue: 0.5,
        sizeValue: Math.max(2, (diameter_mm ?? 8) / 2),
      })),
      edges: [],
    });
    this.nv.addMesh(mesh);
  }

  end(): void {
    this.nv.cleanup();
    this.nv.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function image_(data: ArrayBuffer, name: string, colormap: string, opacity: number, low: number, high: number) {
  return NVImage.loadFromUrl({
    url: name,
    buffer: data,
    name,
    colormap,
    opacity,
    cal_min: low,
    cal_max: high,
    trustCalMinMax: false,
  });
}

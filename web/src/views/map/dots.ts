// Draws dots by WebGL: one vertex a dot, coordinates and colours as plain arrays. Knows no nodule and no pointer.
//
// Why no library: the page's policy forbids code that is made from text, which regl, and so every scatter on it, needs;
// and deck.gl draws an instanced square a dot, which without a graphics card took 0.9 s for 13,140 dots, and would add
// 600 kB to the page. docs/explorer.md has the figures.
import type { Camera } from "./camera";

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec4 view;
uniform float size;
out vec4 ink;
void main() {
  gl_Position = colour.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(place * view.xy + view.zw, 0.0, 1.0);
  gl_PointSize = size;
  ink = colour;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 ink;
uniform float size;
out vec4 seen;
void main() {
  float edge = size < 3.0 ? 1.0 : 1.0 - smoothstep(0.5 - 1.0 / size, 0.5, length(gl_PointCoord - 0.5));
  seen = vec4(ink.rgb, 1.0) * ink.a * edge;
}`;

/** Dots that are drawn while the map moves, where there are more: a fixed random part of all. Ours. */
const WHILE_MOVING = 150_000;

export class Dots {
  private readonly gl: WebGL2RenderingContext;
  private readonly places: WebGLBuffer;
  private readonly colours: WebGLBuffer;
  private readonly view: WebGLUniformLocation | null;
  private readonly size: WebGLUniformLocation | null;
  private order = new Uint32Array();

  /** @throws Error the browser has no WebGL 2. */
  constructor(private readonly canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    if (!gl)
      throw new Error("This browser draws no WebGL 2, which the map needs. The table in Nodules shows the same.");
    this.gl = gl;
    const program = gl.createProgram()!;
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "colour");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    this.view = gl.getUniformLocation(program, "view");
    this.size = gl.getUniformLocation(program, "size");
    this.places = gl.createBuffer()!;
    this.colours = gl.createBuffer()!;
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** Coordinates of the dots, without unit. Many are put in a fixed random order, so that a part shows the whole. */
  place(x: ArrayLike<number>, y: ArrayLike<number>): void {
    this.order = shuffled(x.length);
    const data = new Float32Array(2 * x.length);
    for (let i = 0; i < x.length; i++) {
      data[2 * i] = x[this.order[i]!]!;
      data[2 * i + 1] = y[this.order[i]!]!;
    }
    this.fill(this.places, data, 0, 2, this.gl.FLOAT, false);
  }

  /** Colours of the dots: red, green, blue, opacity as one number of 32 bits (as in a Uint8Array, in this order). */
  paint(colours: Uint32Array): void {
    const data = new Uint32Array(colours.length);
    for (let i = 0; i < colours.length; i++) data[i] = colours[this.order[i]!]!;
    this.fill(this.colours, data, 1, 4, this.gl.UNSIGNED_BYTE, true);
  }

  /** Draws; `size` is the diameter in CSS pixels. While the map moves only a part of many dots is drawn. */
  draw(camera: Camera, size: number, moving: boolean): void {
    const { gl, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [sx, sy] = [(2 * camera.scale) / width, (2 * camera.scale) / height];
    gl.uniform4f(this.view, sx, sy, -camera.x * sx, -camera.y * sy);
    gl.uniform1f(this.size, size * ratio);
    const n = this.order.length;
    if (n) gl.drawArrays(gl.POINTS, 0, moving ? Math.min(n, WHILE_MOVING) : n);
  }

  end(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  private fill(
    buffer: WebGLBuffer,
    data: ArrayBufferView<ArrayBuffer>,
    at: number,
    n: number,
    type: number,
    unit: boolean,
  ) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, n, type, unit, 0, 0);
  }
}

/** Numbers 0 to n-1; in a fixed random order where they are many. */
function shuffled(n: number): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  if (n <= WHILE_MOVING) return order;
  let state = 42;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator: any will do here
    const j = Math.floor((state / 4294967296) * (i + 1));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

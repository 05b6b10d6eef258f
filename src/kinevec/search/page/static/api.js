// Requests to the server; what goes wrong becomes an Error with one line for people.

const token = document.querySelector("meta[name=token]").content;

async function post(path, body, type, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST", body, signal, credentials: "same-origin",
      headers: { "Content-Type": type, "X-Kinevec-Token": token },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `kinevec serve` still running?");
  }
  if (!response.ok) throw new Error(await reason(response));
  return response;
}

async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim() || `The server answered ${response.status}.`;
  }
}

export async function call(name, given = {}, signal = undefined) {
  return (await post(`/api/${name}`, JSON.stringify(given), "application/json", signal)).json();
}

export async function upload(file) {
  return (await post("/api/upload", file, "application/octet-stream")).json();
}

// The map as typed arrays that share one buffer: count, then clip, x, y and cluster.
export async function points(only) {
  const response = await post("/api/map", JSON.stringify({ only }), "application/json");
  const buffer = await response.arrayBuffer();
  const count = new Uint32Array(buffer, 0, 1)[0];
  const at = (column) => 4 + 4 * count * column;
  return {
    count,
    clip: new Int32Array(buffer, at(0), count),
    x: new Float32Array(buffer, at(1), count),
    y: new Float32Array(buffer, at(2), count),
    cluster: new Int32Array(buffer, at(3), count),
  };
}

// Why a film or picture cannot be had.
export async function whyNot(address) {
  try {
    const response = await fetch(address, { credentials: "same-origin" });
    return response.ok ? "This browser cannot play it." : await reason(response);
  } catch {
    return "The server does not answer.";
  }
}

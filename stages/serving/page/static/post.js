// Requests to a model, and its answers.

export const percent = (share) => `${(100 * (share < 1 ? Math.min(share, 0.999) : share)).toFixed(1)} %`;

// Returns {predictions} or {error: sentence}, and the milliseconds until a retry (0: none).
export async function post(project, query, body) {
  let response, answer;
  try {
    // Always octet-stream: the model detects the format from the bytes, whatever the browser assumes.
    const headers = { "Content-Type": "application/octet-stream" };
    response = await fetch(`../models/${project}/invocations?${query}`, { method: "POST", headers, body });
    answer = await response.json();
  } catch {
    return [{ error: "The server doesn't answer. Try again in a few seconds." }, 0];
  }
  if (response.ok) return [answer, 0];
  if (response.status === 503) return [{ error: "This model is still loading. It will answer in a few seconds." }, 1000];
  if (response.status === 429) return [{ error: "Too many pictures at once. This one will be classified in a moment." }, 1000];
  return [{ error: `No answer: ${answer.message}` }, 0];
}

// Questions to the server, and what to do when an answer is an error.

export const ask = async (url, options = {}) => {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error('The server does not answer. Is it still running?');
  }
  const values = await answer.json();
  if (!answer.ok) throw new Error(values.error);
  return values;
};

export const post = (url, values = {}) =>
  ask(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(values)});

// Show what is wrong; without an error, take away what was shown.
export const complain = (error) => {
  const place = document.getElementById('error');
  place.textContent = error?.message ?? error ?? '';
  place.hidden = !error;
};

// A press that waits for the server's answer.

const LONGEST_WAIT_MS = 15000; // until a press that was never answered is given up
const REST_MS = 120; // a slider or pointer that rests this long is where its reader wants it

// `ask` sends at once, or after a rest in which nothing else was asked; `isAnswered` ends the wait.
function makeWait(giveUp) {
  const timers = { ask: null, giveUp: null };
  const isAnswered = () => Object.values(timers).forEach(clearTimeout);
  const ask = (send, rest = 0) => {
    isAnswered();
    timers.giveUp = setTimeout(giveUp, LONGEST_WAIT_MS);
    if (rest) timers.ask = setTimeout(send, rest);
    else send();
  };
  return { ask, isAnswered };
}

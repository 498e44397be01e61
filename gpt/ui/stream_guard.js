// Keeps Gradio's stream of answers whole. All events of a page are answered on one stream, GET queue/data, which the
// server ends with "close_stream" when no event is left. Gradio's own page (6.31) loses answers in two ways:
//
// - The server ends the stream, and the page, before it has read that, is told that its next event has joined. It
//   believes the stream open and does not open another, so that event is never answered. Here the stream goes on: when
//   it is closed while events are unanswered, it is opened again, and Gradio's page reads on.
// - The connection ends without "close_stream". What was under way is lost, and the page either waits for ever or gives
//   itself up. Here the lost events end without a result, and the next one opens a stream of its own.
(() => {
  const plainFetch = window.fetch.bind(window);
  const unanswered = new Set(); // events that have joined and whose last message has not been read
  const answeredEarly = new Set(); // whose last message was read before the answer to their joining
  let reader = null;

  window.fetch = (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input, window.location.href);
    if (pathname.endsWith('/queue/join')) return join(input, init);
    if (pathname.endsWith('/queue/data')) return listen(new Request(input, init));
    return plainFetch(input, init);
  };

  async function join(input, init) {
    const answer = await plainFetch(input, init);
    if (answer.ok) {
      const { event_id: event } = await answer.clone().json();
      window.gptLabMessages?.asked(event, init?.body);
      if (!answeredEarly.delete(event)) unanswered.add(event);
    }
    return answer;
  }

  async function listen(request) {
    const answer = await plainFetch(request.clone());
    if (!answer.ok) return answer;
    const body = new ReadableStream({ start: (gradio) => void relay(request, answer, gradio) });
    return new Response(body, { status: answer.status, headers: answer.headers });
  }

  async function relay(request, answer, gradio) {
    const encoder = new TextEncoder();
    const pass = (message) => {
      if (!request.signal.aborted) gradio.enqueue(encoder.encode(`data: ${message}\n\n`));
    };
    try {
      await readToClose(answer, pass);
      while (unanswered.size) {
        answer = await plainFetch(request.clone());
        if (!answer.ok) throw new Error(answer.statusText);
        await readToClose(answer, pass);
      }
    } catch {
      // The server has given up what this page had asked for.
      unanswered.forEach((event) => {
        pass(JSON.stringify({ msg: 'process_completed', event_id: event, output: { data: [] }, success: true }));
      });
      unanswered.clear();
    }
    if (request.signal.aborted) return; // the page is left, and nobody reads on
    pass(JSON.stringify({ msg: 'close_stream' }));
    gradio.close();
  }

  // Passes on all messages before "close_stream"; throws where the connection ends without it.
  async function readToClose(answer, pass) {
    const decoder = new TextDecoder();
    let text = '';
    reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error('the stream broke off');
      const events = (text + decoder.decode(value, { stream: true })).split('\n\n');
      text = events.pop();
      for (const event of events) {
        const message = event.replace(/^data: /, '');
        const parsed = JSON.parse(message);
        const { msg, event_id: id } = parsed;
        if (msg === 'close_stream') return;
        if (msg === 'process_completed' && !unanswered.delete(id)) answeredEarly.add(id);
        const heard = window.gptLabMessages?.hear(parsed) ?? parsed;
        pass(heard === parsed ? message : JSON.stringify(heard));
      }
    }
  }

  // For a page that sees that nothing arrives any more.
  window.gptLabStream = { renew: () => reader && reader.cancel() };
})();

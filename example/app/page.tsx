"use client";

import { useState } from "react";
import { sentences, wordErrors, words } from "@/lib/score";

export default function Page() {
  const [number, setNumber] = useState(0);
  const [heard, setHeard] = useState("");
  const [checked, setChecked] = useState(false);
  const said = sentences[number];
  const errors = wordErrors(said, heard);

  function next() {
    setNumber((number + 1) % sentences.length);
    setHeard("");
    setChecked(false);
  }

  return (
    <main>
      <h1>Listening trainer</h1>
      <p>Listen, then write down what you heard.</p>
      <audio key={number} controls preload="none" src={`/api/clip?sentence=${number}`} style={{ width: "100%" }} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setChecked(true);
        }}
      >
        <textarea
          aria-label="What you heard"
          rows={3}
          value={heard}
          onChange={(event) => setHeard(event.target.value)}
          style={{ width: "100%", font: "inherit", margin: "1rem 0" }}
        />
        <button>Check</button> <button type="button" onClick={next}>Next sentence</button>
      </form>
      {checked && (
        <p role="status">
          {errors === 0 ? "All words right." : `${errors} of ${words(said).length} words wrong: “${said}”`}
        </p>
      )}
    </main>
  );
}

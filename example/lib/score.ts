export const sentences = [
  "The train to the coast leaves from platform nine at a quarter past seven.",
  "She would have called earlier, but her phone had run out of battery.",
  "Could you tell me whether the museum is open on public holidays?",
];

export function words(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9']+/g) ?? [];
}

/** Words to insert, delete or replace to turn what was heard into what was said. */
export function wordErrors(said: string, heard: string): number {
  const from = words(heard);
  const to = words(said);
  let row = to.map((_, j) => j + 1);
  from.forEach((word, i) => {
    let diagonal = i;
    let left = i + 1;
    row = row.map((above, j) => {
      left = Math.min(above + 1, left + 1, diagonal + (word === to[j] ? 0 : 1));
      diagonal = above;
      return left;
    });
  });
  return to.length ? row[to.length - 1] : from.length;
}

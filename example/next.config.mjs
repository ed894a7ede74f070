/** @type {import("next").NextConfig} */
export default {
  // server.js and only those node_modules that it loads, so that runtime needs no npm.
  output: "standalone",
  // Stated, or Next looks for lock files in the folders above and may choose one of those.
  outputFileTracingRoot: import.meta.dirname,
  turbopack: { root: import.meta.dirname },
  // No page resizes pictures, so the 20 MB that could do it stay out of the image.
  images: { unoptimized: true },
  outputFileTracingExcludes: { "*": ["node_modules/sharp/**", "node_modules/@img/**"] },
  poweredByHeader: false,
};

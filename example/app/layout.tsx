import type { ReactNode } from "react";

export const metadata = { title: "Listening trainer" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body style={{ font: "1.1rem/1.6 system-ui, sans-serif", maxWidth: "38rem", margin: "3rem auto", padding: "0 1rem" }}>
        {children}
      </body>
    </html>
  );
}
